import AdminAPI
import Testing

@testable import Commands

@Suite struct ZooKeeperCheckTests {
    private static func check(_ servers: ZooKeeperLimits.Server...) -> Check {
        ZooKeeperCheck(limits: ZooKeeperLimits(sessionMilliseconds: 6000, servers: servers)).check
    }

    @Test func aServerThatServesLongerThanASessionIsAWarning() {
        let check = Self.check(.init(address: "a:1", syncLimitMilliseconds: 4000), .init(address: "b:1", syncLimitMilliseconds: 10_000))
        #expect(check.outcome == .warn && check.detail.contains("b:1 for 10.0 s") && !check.detail.contains("a:1"))
        #expect(check.advice?.contains("Lower syncLimit in zoo.cfg") == true)
    }

    @Test func aServerThatServesLessThanASessionIsOK() {
        #expect(Self.check(.init(address: "a:1", syncLimitMilliseconds: 4000)).outcome == .ok)
        #expect(Self.check(.init(address: "a:1", syncLimitMilliseconds: 0)).detail.contains("only one ZooKeeper server"))
    }

    @Test func unreportedLimitsAreUnknown() {
        let check = Self.check(.init(address: "a:1", syncLimitMilliseconds: 4000), .init(address: "b:1", unknown: "it does not allow the word conf"))
        #expect(check.outcome == .skip && check.detail == "unknown for b:1: it does not allow the word conf")
    }
}
