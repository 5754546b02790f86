package import Pipeline

/// Where the API reads channels: heads and subscribers from the sequencers, history from the log.
package struct ChannelReader: Sendable {
    let sequencers: Sequencers
    let log: any Log

    package init(sequencers: Sequencers, log: any Log) {
        self.sequencers = sequencers
        self.log = log
    }
}
