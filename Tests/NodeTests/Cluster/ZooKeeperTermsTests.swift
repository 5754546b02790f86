import Testing

@testable import Node

@Suite struct ZooKeeperTermsTests {
    @Test func aMemberOfAnEnsembleSaysHowLongItServesOn() {
        let text = "clientPort=2181\ndataDir=/var/lib/zookeeper/version-2\ntickTime=2000\nmaxClientCnxns=60\nserverId=1\ninitLimit=10\nsyncLimit=5\n"
        #expect(ZooKeeperTerms.answer(text) == .syncLimit(10_000))
    }

    @Test func aServerThatIsAloneHasNoOthers() {
        #expect(ZooKeeperTerms.answer("clientPort=2181\ntickTime=500\nserverId=0\n") == .alone)
    }

    @Test(arguments: [
        ("conf is not executed because it is not in the whitelist.\n", "whitelist"), ("", "does not answer conf"), ("HTTP/1.1 400 Bad Request", "conf"),
        ("tickTime=9000000000000000000\nsyncLimit=9\n", "syncLimit is 9"),
    ]) func whatIsNotKnownIsSaid(_ text: String, _ words: String) {
        guard case .unknown(let reason) = ZooKeeperTerms.answer(text) else { return #expect(Bool(false)) }
        #expect(reason.contains(words))
    }
}
