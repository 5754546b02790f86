package import Pipeline

/// Where the API reads channels: heads and subscribers from the sequencer, history from the log.
package struct ChannelReader: Sendable {
    let sequencer: Sequencer
    let log: any Log

    package init(sequencer: Sequencer, log: any Log) {
        self.sequencer = sequencer
        self.log = log
    }
}
