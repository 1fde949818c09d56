// Every choice of a simulated world is drawn from one seed; these are the few shapes of choice it needs.
import Primitives

extension SeededRandom {
    /// A number from 0 up to, but not including, `bound`.
    public mutating func below(_ bound: Int64) -> Int64 {
        precondition(bound > 0, "nothing to choose from")
        return Int64(next() >> 1) % bound
    }

    /// A number in the range, both ends included.
    public mutating func between(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }

    /// True in about `thousandths` of a thousand cases.
    public mutating func chance(_ thousandths: Int64) -> Bool {
        below(1000) < thousandths
    }

    /// One of the elements.
    public mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int(below(Int64(elements.count)))]
    }

    /// A source of its own, so that choices of one part do not shift those of another.
    public mutating func branch() -> SeededRandom {
        SeededRandom(seed: next())
    }
}
