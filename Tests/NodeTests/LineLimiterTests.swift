import Testing

@testable import Node

@Suite struct LineLimiterTests {
    @Test func fiveLinesPassInTenSeconds() {
        var limiter = LineLimiter()
        let start = ContinuousClock.now
        let first = (0..<8).map { limiter.pass(at: start + .milliseconds($0)) }
        #expect(first == [0, 0, 0, 0, 0, nil, nil, nil])
        #expect(limiter.pass(at: start + .milliseconds(9_999)) == nil)
        // The first line of the next window reports the number of lines that were dropped before it.
        #expect(limiter.pass(at: start + .seconds(10)) == 4)
        #expect(limiter.pass(at: start + .seconds(10)) == 0)
    }
}
