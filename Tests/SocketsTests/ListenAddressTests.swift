import Sockets
import Testing

@Suite struct ListenAddressTests {
    @Test(arguments: ["127.0.0.1:8080", "0.0.0.0:0", "localhost:65535", "[::1]:80", "[::]:8081", "node-1.example.org:9", "[fe80::1%eth0]:1"])
    func validAddressesAreWrittenUnchanged(text: String) throws {
        let address = try #require(ListenAddress(text))
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1:8O", "::1:80", "[::1]", "[::1:80", "[]:80",
        "[localhost]:80", "a b:80", "http://a:80", "127.0.0.1:99999999999999999999",
    ])
    func invalidAddressesAreRefused(text: String) {
        #expect(ListenAddress(text) == nil)
    }

    @Test func loopbackAddressesAreRecognized() throws {
        for text in [
            "127.0.0.1:1", "127.8.9.10:1", "localhost:1", "LOCALHOST:1", "[::1]:1", "127.1:1", "127.0.0:1", "0x7f000001:1", "0177.1:1", "2130706433:1",
            "[0:0::1]:1", "[::ffff:127.0.0.1]:1", "[::ffff:7f00:1]:1",
        ] {
            #expect(try #require(ListenAddress(text)).isLoopback, "\(text)")
        }
        for text in ["0.0.0.0:1", "10.0.0.1:1", "127.example.org:1", "127.0.0.1.example.org:1", "[::]:1", "0:1", "[::2]:1", "[::ffff:10.0.0.1]:1", "128.1:1"] {
            #expect(try !#require(ListenAddress(text)).isLoopback, "\(text)")
        }
    }

    /// The system accepts addresses with fewer parts, and with octal or hexadecimal numbers.
    @Test(arguments: [
        "0.0.0.0", "0", "0.0", "0.0.0", "00.0.0.0", "0x0", "0X0.0", "0x00000000", "0000", "[::]", "[::0]", "[0::]", "[0:0::0]", "[0:0:0:0:0:0:0:0]",
        "[::0.0.0.0]", "[::ffff:0.0.0.0]", "[::ffff:0:0]",
    ]) func wildcardAddressesAreRecognizedInEverySpelling(host: String) throws {
        let address = try #require(ListenAddress("\(host):1"))
        #expect(address.isWildcard && !address.isLoopback)
    }

    @Test(arguments: ["0.0.0.1", "1", "0.example.org", "[::1]", "[::ffff:0.0.0.1]", "10.0.0.0", "localhost", "0x1"])
    func otherAddressesAreNotWildcards(host: String) throws {
        #expect(try !#require(ListenAddress("\(host):1")).isWildcard)
    }

    @Test func overlappingAddressesAreRecognized() throws {
        func overlap(_ one: String, _ other: String) throws -> Bool {
            try #require(ListenAddress(one)).overlaps(#require(ListenAddress(other)))
        }
        #expect(try overlap("127.0.0.1:80", "127.0.0.1:80"))
        #expect(try overlap("0.0.0.0:80", "127.0.0.1:80"))
        #expect(try overlap("127.0.0.1:80", "[::]:80"))
        #expect(try overlap("127.0.0.1:80", "127.1:80"))
        #expect(try overlap("127.0.0.1:80", "0:80"))
        #expect(try overlap("[::1]:80", "[0::1]:80"))
        #expect(try !overlap("127.0.0.1:80", "127.0.0.1:81"))
        #expect(try !overlap("127.0.0.1:80", "127.0.0.2:80"))
        #expect(try !overlap("127.0.0.1:0", "127.0.0.1:0"))
    }
}
