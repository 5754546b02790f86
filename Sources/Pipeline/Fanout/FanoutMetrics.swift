package import SubscriberAPI

/// A fanout's numbers. Opened and closed subscribers are counted separately, so that a test can compare the two.
package struct FanoutMetrics: Sendable {
    package var subscribersOpened: UInt64 = 0
    package var subscribersClosed: UInt64 = 0
    package var subscriptionsOpened: UInt64 = 0
    package var subscriptionsClosed: UInt64 = 0
    /// Events delivered to subscribers: one event for a thousand subscribers counts as a thousand.
    package var delivered: UInt64 = 0
    package var writes: UInt64 = 0
    package var replayReads: UInt64 = 0
    package var replayFailures: UInt64 = 0
    package var gapsExpired: UInt64 = 0
    package var gapsOverflow: UInt64 = 0
    package var gapsReset: UInt64 = 0
    package var restarts: UInt64 = 0
    package var blocked: UInt64 = 0
    package var feeds: Int = 0
    package var feedBytes: Int = 0

    package init() {}

    package var gaps: UInt64 { self.gapsExpired + self.gapsOverflow + self.gapsReset }

    package func gaps(_ reason: GapReason) -> UInt64 {
        switch reason {
        case .expired: self.gapsExpired
        case .overflow: self.gapsOverflow
        case .reset: self.gapsReset
        }
    }

    mutating func countGap(_ reason: GapReason) {
        switch reason {
        case .expired: self.gapsExpired += 1
        case .overflow: self.gapsOverflow += 1
        case .reset: self.gapsReset += 1
        }
    }

    package static func += (left: inout FanoutMetrics, right: FanoutMetrics) {
        left.subscribersOpened += right.subscribersOpened
        left.subscribersClosed += right.subscribersClosed
        left.subscriptionsOpened += right.subscriptionsOpened
        left.subscriptionsClosed += right.subscriptionsClosed
        left.delivered += right.delivered
        left.writes += right.writes
        left.replayReads += right.replayReads
        left.replayFailures += right.replayFailures
        left.gapsExpired += right.gapsExpired
        left.gapsOverflow += right.gapsOverflow
        left.gapsReset += right.gapsReset
        left.restarts += right.restarts
        left.blocked += right.blocked
        left.feeds += right.feeds
        left.feedBytes += right.feedBytes
    }
}
