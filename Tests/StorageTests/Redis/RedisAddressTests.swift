import Testing

@testable import Storage

@Suite struct RedisAddressTests {
    @Test func theParts() throws {
        let plain = try RedisAddress("redis://localhost")
        #expect(plain.host == "localhost" && plain.port == 6379 && !plain.isTLS && plain.user == nil && plain.password == nil && plain.database == nil)
        let full = try RedisAddress("rediss://app:p%40s%25%C3%A9@redis.example.org:7000/3")
        #expect(full.isTLS && full.user == "app" && full.password == "p@s%é" && full.host == "redis.example.org" && full.port == 7000 && full.database == 3)
        let six = try RedisAddress("redis://:a/b@c?d@[fe80::1]:1")
        #expect(six.host == "fe80::1" && six.port == 1 && six.user == nil && six.password == "a/b@c?d" && six.hostAndPort == "[fe80::1]:1")
        #expect(try RedisAddress("redis://[::1]").port == 6379)
        #expect(try RedisAddress("redis://h/").database == nil)
        #expect(try RedisAddress("redis://h/0").database == 0)
        #expect(try RedisAddress("redis://u:a:b@h").password == "a:b")
    }

    @Test(arguments: [
        ("localhost:6379", "begins with redis://"), ("http://localhost", "begins with redis://"), ("redis://", "no host"), ("redis://:6379", "no host"),
        ("redis://h:", "port"), ("redis://h:0", "port"), ("redis://h:65536", "port"), ("redis://h:+1", "port"), ("redis://h:1:2", "port"),
        ("redis://::1", "no host"), ("redis://fe80::1", "needs brackets"), ("redis://[::1", "closing bracket"), ("redis://[::1]6379", "port"),
        ("redis://[localhost]", "no IPv6"), ("redis://h/x", "number of a database"), ("redis://h/-1", "number of a database"),
        ("redis://h/1/2", "number of a database"), ("redis://h?x=1", "number of a database"), ("redis://hé", "host"), ("redis://h x", "host"),
        ("redis://user@h", "no password"), ("redis://user:@h", "is empty"),
    ]) func whatIsWrongIsSaid(url: String, part: String) {
        let error = #expect(throws: RedisAddressError.self) { try RedisAddress(url) }
        #expect(error?.description.contains(part) == true, "\(url): \(String(describing: error))")
    }

    @Test(arguments: [
        "redis://u:hunter2%zz@h", "redis://u:hunter2%ff@h", "redis://:hunter2@h:port", "redis://hunter2@h", "redis://:hunter2@", "x://:hunter2@h",
    ])
    func noErrorShowsThePassword(url: String) {
        let error = #expect(throws: RedisAddressError.self) { try RedisAddress(url) }
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test func noDescriptionShowsThePassword() throws {
        let address = try RedisAddress("rediss://app:hunter2@h:1/2")
        var dumped = ""
        dump([address], to: &dumped)
        for text in ["\(address)", String(reflecting: address), "\([address])", "\(Optional(address) as Any)", dumped] {
            #expect(text.contains("rediss://app@h:1/2") && !text.contains("hunter2"), "\(text)")
        }
    }
}
