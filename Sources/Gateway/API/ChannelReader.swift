package import Pipeline

/// The sources of the API's responses about channels. The sequencers return heads and numbers of subscribers. The log returns history.
package struct ChannelReader: Sendable {
    let sequencers: Sequencers
    let log: any Log

    package init(sequencers: Sequencers, log: any Log) {
        self.sequencers = sequencers
        self.log = log
    }
}
