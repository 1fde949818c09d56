// What commands say to people, on the right stream and at once.
import Glibc

/// The two output streams of the process, unbuffered by anything of ours.
enum Terminal {
    /// Results: what a script would read.
    static func print(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

    /// Everything else: mistakes, progress, remarks.
    static func complain(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Whether standard output is looked at by a person.
    static var isInteractive: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Whether progress may be drawn: a person looks at standard error.
    static var showsProgress: Bool { isatty(STDERR_FILENO) == 1 }

    /// Draws a line over the one drawn before; an empty text takes it away.
    static func progress(_ text: String) {
        guard showsProgress else { return }
        write("\r\u{1B}[K" + text, to: STDERR_FILENO)
    }

    static func write(_ text: String, to descriptor: Int32 = STDOUT_FILENO) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0), to: descriptor) }
    }

    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32 = STDOUT_FILENO) {
        var rest = bytes
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                // Whoever reads has gone, as `head` does: the end of the pipe is the end of the work.
                if errno == EPIPE { exit(141) }
                return
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }
}

/// Collects output of many small pieces; whoever prints decides when it must be seen.
struct OutputBuffer {
    private var bytes: [UInt8] = []
    private let limit = 64 << 10

    init() { bytes.reserveCapacity(limit + 4096) }

    mutating func line(_ text: String) {
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\n"))
        if bytes.count >= limit { flush() }
    }

    mutating func append(_ more: some Sequence<UInt8>) {
        bytes.append(contentsOf: more)
        if bytes.count >= limit { flush() }
    }

    mutating func flush() {
        bytes.withUnsafeBytes { Terminal.write($0) }
        bytes.removeAll(keepingCapacity: true)
    }
}
