/// Goes over the slots of a growing table repeatedly, each round in a fixed number of steps. A pure value.
///
/// An entry that exists at the start of a round, and keeps its slot, is visited exactly once in that round.
struct DrainSweep {
    private let steps: Int
    private var step = 0
    private var position = 0

    init(steps: Int) {
        self.steps = steps
    }

    /// The slots of the current step.
    mutating func next(of count: Int) -> Range<Int> {
        let end = max(self.position, (self.step + 1) * count / self.steps)
        let slots = self.position..<end
        self.step = (self.step + 1) % self.steps
        self.position = self.step == 0 ? 0 : end
        return slots
    }
}
