package import Pipeline

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The time of day, which the timestamps of events and the first epochs are made of. Nothing measures an age by it.
package enum WallClock {
    /// Milliseconds since 1970.
    package static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

extension Clocks {
    /// Of this process.
    package static let system = Clocks(wall: WallClock.now)
}
