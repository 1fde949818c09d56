// Points in time and durations in arguments of Kafka's tools.

/// Times as Kafka's tools take them.
enum DateText {
    /// `2026-11-28T10:15:30.000`, in UTC unless `Z`, `+01:00` or `+0100` says otherwise.
    static func milliseconds(_ text: String) throws -> Int64 {
        let mistake = CommandFailure(
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
        guard let middle = text.firstIndex(of: "T") else { throw mistake }
        let clock = text[text.index(after: middle)...]
        var shift: Int64 = 0
        var end = text.endIndex
        if let sign = clock.lastIndex(where: { $0 == "+" || $0 == "-" }) {
            let digits = clock[clock.index(after: sign)...].filter(\.isNumber)
            guard digits.count == 4 || digits.count == 2, let number = Int64(digits) else { throw mistake }
            let minutes = digits.count == 2 ? number * 60 : number / 100 * 60 + number % 100
            shift = (clock[sign] == "-" ? -minutes : minutes) * 60_000
            end = sign
        }
        guard let time = TimeText.parse(String(text[..<end])) else {
            throw CommandFailure("java.text.ParseException: Unparseable date: \"\(text)\"")
        }
        return time - shift
    }

    /// `P1DT2H3M4.5S`
    static func durationMilliseconds(_ text: String) throws -> Int64 {
        let mistake = CommandFailure("Text cannot be parsed to a Duration")
        var rest = text.uppercased()[...]
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest.removeFirst() }
        guard rest.popFirst() == "P", !rest.isEmpty else { throw mistake }
        var seconds = 0.0
        var isTime = false
        var number = ""
        for character in rest {
            switch character {
            case "T" where number.isEmpty && !isTime: isTime = true
            case "0"..."9", ".", "-", "+": number.append(character)
            default:
                let units: [Character: Double] = isTime ? ["H": 3600, "M": 60, "S": 1] : ["D": 86_400]
                guard let unit = units[character], let value = Double(number) else { throw mistake }
                seconds += value * unit
                number = ""
            }
        }
        guard number.isEmpty else { throw mistake }
        return Int64((isNegative ? -seconds : seconds) * 1000)
    }
}
