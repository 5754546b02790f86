package import Pipeline

/// The sources of the API's responses about channels: the sequencers have heads and subscribers, the log has history.
package struct ChannelReader: Sendable {
    let sequencers: Sequencers
    let log: any Log

    package init(sequencers: Sequencers, log: any Log) {
        self.sequencers = sequencers
        self.log = log
    }
}
