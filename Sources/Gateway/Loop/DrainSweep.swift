/// Goes through the slots of a table that grows meanwhile, again and again, each round in so many steps. A pure value.
///
/// Whoever is there at the start of a round, and stays where he is, is met in it exactly once.
struct DrainSweep {
    private let steps: Int
    private var step = 0
    private var position = 0

    init(steps: Int) {
        self.steps = steps
    }

    /// The slots whose turn it is.
    mutating func next(of count: Int) -> Range<Int> {
        let end = max(self.position, (self.step + 1) * count / self.steps)
        let slots = self.position..<end
        self.step = (self.step + 1) % self.steps
        self.position = self.step == 0 ? 0 : end
        return slots
    }
}
