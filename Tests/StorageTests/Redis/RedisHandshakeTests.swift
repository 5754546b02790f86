import NIOCore
import Testing

@testable import Storage

@Suite struct RedisHandshakeTests {
    private static let info = RedisReply.string(ByteBuffer(string: RedisServerFactsTests.good))
    private static let policy = RedisReply.array([.string(ByteBuffer(string: "maxmemory-policy")), .string(ByteBuffer(string: "noeviction"))])
    private static let fsync = RedisReply.array([.string(ByteBuffer(string: "appendfsync")), .string(ByteBuffer(string: "always"))])
    private let handshake = RedisHandshake(address: try! RedisAddress("redis://app:hunter2@h:1/3"), scripts: ["return 1"])

    /// The replies of a good server, with some replaced.
    private func judge(_ changes: [Int: RedisReply]) -> RedisHandshake.Result {
        var replies: [RedisReply] = [.status("OK"), .status("OK"), .status("OK")] + Array(repeating: Self.info, count: 5)
        replies += [Self.policy, Self.fsync, .string(ByteBuffer(string: "abc"))]
        for (index, reply) in changes { replies[index] = reply }
        return self.handshake.judge(replies)
    }

    @Test func theRequestsInOrder() {
        let first = self.handshake.requests.prefix(3).map { String(buffer: $0.bytes) }
        #expect(
            first == [
                "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$7\r\nhunter2\r\n", "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n",
                "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$10\r\nrealertime\r\n",
            ])
        #expect(self.handshake.requests.count == 11)
        #expect(RedisHandshake(address: try! RedisAddress("redis://h"), scripts: []).requests.count == 8)
        #expect(String(buffer: RedisHandshake(address: try! RedisAddress("redis://:p@h"), scripts: []).requests[0].bytes) == "*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n")
    }

    @Test func aGoodServerIsAccepted() {
        let result = self.judge([:])
        #expect(result.verdict == .accepted && result.scriptHashes == ["abc"] && result.facts?.appendFsync == "always" && result.facts?.version == "7.0.15")
    }

    @Test func whatAProviderForbidsIsUnknown() {
        let no = RedisReply.error("NOPERM this user has no permissions to run the 'config|get' command")
        let result = self.judge([2: no, 8: no, 9: no])
        #expect(result.verdict == .accepted && result.facts?.appendFsync == nil && result.facts?.maxMemoryPolicy == "noeviction")
        #expect(self.judge([8: .array([]), 9: .array([.null, .null])]).verdict == .accepted)
    }

    @Test(arguments: [
        (0, "WRONGPASS invalid username-password pair or user is disabled.", false, "(WRONGPASS)"),
        (0, "ERR unknown command 'AUTH', with args beginning with: 'app' 'hunter2'", false, "(ERR)"),
        (1, "ERR DB index is out of range", false, "DB index is out of range"), (2, "NOAUTH Authentication required.", false, "requires a password"),
        (3, "NOPERM this user has no permissions to run the 'info' command", false, "does not allow this user INFO"),
        (3, "BUSY Redis is busy running a script.", true, "busy"), (10, "LOADING Redis is loading the dataset in memory", true, "loading"),
        (10, "ERR Error compiling script", false, "Error compiling script"),
    ]) func objections(index: Int, error: String, passes: Bool, part: String) {
        let result = self.judge([index: .error(error)])
        let sentence: String
        switch result.verdict {
        case .accepted: return #expect(Bool(false), "\(error)")
        case .unavailable(let text):
            #expect(passes, "\(error)")
            sentence = text
        case .refused(let text):
            #expect(!passes, "\(error)")
            sentence = text
        }
        #expect(sentence.contains(part) && sentence.contains("Redis at h:1") && !sentence.contains("hunter2"), "\(sentence)")
    }

    @Test func aReplicaThatLostItsMasterIsRefusedAsAReplica() {
        let replica = RedisReply.string(ByteBuffer(string: "role:slave\r\n"))
        let result = self.judge([5: replica, 6: replica, 7: replica, 10: .error("MASTERDOWN Link with MASTER is down")])
        guard case .refused(let sentence) = result.verdict else { return #expect(Bool(false), "\(result.verdict)") }
        #expect(sentence.contains("not a master"))
    }

    /// INFO comes in several replies: the last one that names a fact counts.
    @Test func aServerThatLoadsIsWaitedFor() {
        let result = self.judge([7: .string(ByteBuffer(string: "loading:1\r\n"))])
        guard case .unavailable = result.verdict else { return #expect(Bool(false), "\(result.verdict)") }
    }

    @Test func anErrorThatNamesTheScriptIsNoRefusal() {
        let plain = RedisRefusal("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'", place: "h:1")
        #expect(plain?.sentence.contains("h:1") == true && plain?.isAboutServer == false)
        let inside = "OOM command not allowed when used memory > 'maxmemory'. script: f3a, on @user_script:3."
        #expect(RedisRefusal(inside, place: "h:1") == nil)
        #expect(RedisRefusal("NOSCRIPT No matching script.", place: "h:1") == nil)
        #expect(RedisRefusal("ERR x", place: "h:1") == nil)
        #expect(RedisRefusal("READONLY You can't write against a read only replica.", place: "h:1")?.isAboutServer == true)
    }
}
