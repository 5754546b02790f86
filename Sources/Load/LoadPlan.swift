/// Assigns channels to subscribers and publishers. Pure arithmetic, so that every worker process computes the same plan.
struct LoadPlan: Sendable, Equatable {
    enum Rate: Sendable, Equatable {
        /// Nothing is published.
        case none
        case perSecond(Double)
        /// Closed loop: each publisher sends its next event when it gets a response.
        case maximum
    }

    var subscribers: Int
    var channels: Int
    var channelsPerSubscriber: Int
    /// The number of publishers with at least one channel. A channel has one publisher, so that the order of its events is defined. Only a hot channel has
    /// several publishers.
    var publishers: Int
    var isHot: Bool
    var rate: Rate
    var processes: Int
    /// The number of cycles of connect and disconnect. 0 for a run that measures deliveries.
    var churn: Int

    init(
        subscribers: Int, channels: Int, channelsPerSubscriber: Int = 1, publishers: Int, isHot: Bool = false,
        rate: Rate, processes: Int = 1, churn: Int = 0
    ) {
        self.subscribers = subscribers
        self.channels = isHot ? 1 : channels
        self.channelsPerSubscriber = isHot ? 1 : channelsPerSubscriber
        self.publishers = rate == .none || churn > 0 ? 0 : isHot ? publishers : min(publishers, channels)
        self.isHot = isHot
        self.rate = rate
        self.processes = processes
        self.churn = churn
    }

    // MARK: Shares of a worker

    func subscribers(ofWorker worker: Int) -> Range<Int> { self.share(of: self.subscribers, worker) }
    func publishers(ofWorker worker: Int) -> Range<Int> { self.share(of: self.publishers, worker) }
    func churn(ofWorker worker: Int) -> Int { self.share(of: self.churn, worker).count }

    private func share(of count: Int, _ worker: Int) -> Range<Int> {
        (count * worker / self.processes)..<(count * (worker + 1) / self.processes)
    }

    // MARK: Subscribers

    /// Subscriber i subscribes to channel i mod M, or to K channels beginning at i·K mod M.
    func firstChannel(ofSubscriber subscriber: Int) -> Int { subscriber * self.channelsPerSubscriber % self.channels }

    func channels(ofSubscriber subscriber: Int) -> [Int] {
        let first = self.firstChannel(ofSubscriber: subscriber)
        return (0..<self.channelsPerSubscriber).map { (first + $0) % self.channels }
    }

    /// The number of sequences that one subscriber tracks.
    var slotsPerSubscriber: Int { self.channelsPerSubscriber * self.lanes }

    // MARK: Streams. Each stream has its own sequence numbers.

    /// The number of publishers of one channel.
    var lanes: Int { self.isHot ? max(1, self.publishers) : 1 }
    var streams: Int { self.channels * self.lanes }
    func stream(channel: Int, lane: Int) -> Int { channel * self.lanes + lane }

    // MARK: Publishers

    /// The streams of a publisher. The publisher uses them in round-robin order.
    func streams(ofPublisher publisher: Int) -> StrideTo<Int> {
        self.isHot ? stride(from: publisher, to: publisher + 1, by: 1) : stride(from: publisher, to: self.channels, by: self.publishers)
    }

    /// The stream of a publisher's n-th event.
    func stream(ofPublisher publisher: Int, event: Int) -> Int {
        self.isHot ? publisher : publisher + event % self.streamsCount(ofPublisher: publisher) * self.publishers
    }

    /// Each channel has the same rate, so a publisher's rate is proportional to its number of channels.
    func schedule(ofPublisher publisher: Int, start: UInt64) -> PublishSchedule {
        guard case .perSecond(let rate) = self.rate else { return PublishSchedule(start: start, pace: .closedLoop) }
        let share = Double(self.streamsCount(ofPublisher: publisher)) / Double(self.streams)
        let interval = 1e9 / (rate * share)
        return PublishSchedule(start: start, pace: .every(interval), phase: interval * Double(publisher) / Double(self.publishers))
    }

    func streamsCount(ofPublisher publisher: Int) -> Int {
        self.isHot ? 1 : (self.channels - publisher + self.publishers - 1) / self.publishers
    }
}
