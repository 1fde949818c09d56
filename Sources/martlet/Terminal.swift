// What commands say to people, on the right stream and at once.
import ArgumentParser
import Glibc
import Synchronization

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

    /// A process that was started without standard streams would give their numbers to sockets and files, and then write messages into
    /// those.
    static func occupyStandardStreams() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) < 0 {
            // The lowest number that is free is taken, which is this one.
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// Notices that whoever read the output has gone, while there is nothing to write.
    static func checkReader() {
        var output = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
        if poll(&output, 1, 0) > 0, output.revents & Int16(POLLERR) != 0 { outputFailed(EPIPE) }
    }

    /// The end of the output is the end of the work: an orderly one where that makes a difference.
    private static func outputFailed(_ reason: Int32) {
        outputError.store(reason, ordering: .relaxed)
        if Interruption.isWatched { return Interruption.request() }
        if reason != EPIPE { complain("Error: \(explanation(of: reason))") }
        exit(status(of: reason))
    }

    /// Ends the command when its output could not be written to the last byte.
    static func checkOutput() throws {
        let reason = outputError.load(ordering: .relaxed)
        if reason == EPIPE { throw ExitCode(status(of: reason)) }
        if reason != 0 { throw CommandFailure(explanation(of: reason)) }
    }

    private static func explanation(of reason: Int32) -> String {
        "standard output cannot be written: \(String(cString: strerror(reason)))"
    }

    /// Whoever reads has gone, as `head` does: what a shell reports of a process that SIGPIPE ended.
    private static func status(of reason: Int32) -> Int32 { reason == EPIPE ? 141 : 1 }

    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32 = STDOUT_FILENO) {
        var rest = bytes
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&wait, 1, -1)
                    continue
                }
                if descriptor == STDOUT_FILENO { outputFailed(errno) }
                return
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }
}

/// Why standard output takes no more; 0 while it does.
private let outputError = Atomic<Int32>(0)

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
