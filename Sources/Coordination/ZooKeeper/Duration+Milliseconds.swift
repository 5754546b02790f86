extension Duration {
    /// The duration in milliseconds, rounded towards zero.
    var wholeMilliseconds: Int64 { self.components.seconds * 1000 + self.components.attoseconds / 1_000_000_000_000_000 }
}
