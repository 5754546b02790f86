/// Visits the slots of a growing table in rounds. Each round has a fixed number of steps. A pure value.
///
/// An entry that keeps its slot during a round is visited exactly once in that round.
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
