import AdminAPI
import Testing

@testable import Node

@Suite struct ZooKeeperLimitsTests {
    private func parsed(_ response: String?) -> ZooKeeperLimits.Server {
        var server = ZooKeeperLimits.Server(address: "a:1")
        server.parse(response)
        return server
    }

    @Test func aMemberOfAnEnsembleHasALimit() {
        let text = "clientPort=2181\ndataDir=/var/lib/zookeeper/version-2\ntickTime=2000\nmaxClientCnxns=60\nserverId=1\ninitLimit=10\nsyncLimit=5\n"
        #expect(self.parsed(text) == .init(address: "a:1", syncLimitMilliseconds: 10_000))
    }

    @Test func aStandaloneServerHasTheLimitZero() {
        #expect(self.parsed("clientPort=2181\ntickTime=500\nserverId=0\n") == .init(address: "a:1", syncLimitMilliseconds: 0))
    }

    @Test(arguments: [
        ("conf is not executed because it is not in the whitelist.\n", "whitelist"), ("", "does not respond to conf"), ("HTTP/1.1 400 Bad Request", "conf"),
        ("tickTime=9000000000000000000\nsyncLimit=9\n", "too large: 9"), (nil, "does not respond"),
    ]) func anUnknownLimitHasAReason(_ text: String?, _ words: String) {
        let server = self.parsed(text)
        #expect(server.syncLimitMilliseconds == nil && server.unknown?.contains(words) == true)
    }
}
