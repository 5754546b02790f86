import Testing

@testable import Coordination

@Suite struct ZooKeeperServersTests {
    @Test(arguments: [
        ("a:2181", "a:2181", ""), ("a:1, b:2 ,10.0.0.1:3/x", "a:1,b:2,10.0.0.1:3", "/x"), ("[::1]:2181", "::1:2181", ""),
        ("[fe80::1%eth0]:1,b:2/x/y", "fe80::1%eth0:1,b:2", "/x/y"), ("a:1/", "a:1", ""),
    ]) func serversAreWrittenInTheFormThatTheCClientReads(_ text: String, _ clientText: String, _ chroot: String) throws {
        let servers = try ZooKeeperServers(text)
        #expect(servers.clientText == clientText && servers.chroot == chroot)
    }
}
