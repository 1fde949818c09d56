// Lines of a file or of standard input, as bytes: what is produced need not be text.
import Glibc
import NIOCore

/// Reads lines; a carriage return before the line's end belongs to the end. An interruption is the end of the input.
struct LineReader: ~Copyable {
    /// The longest line; more is no line but a mistake.
    static let longest = 256 << 20

    private let descriptor: Int32
    private let closes: Bool
    private var buffer = ByteBuffer()
    private var searched = 0
    private var isAtEnd = false

    /// - Parameter path: nil for standard input.
    init(_ path: String?) throws(CommandFailure) {
        closes = path != nil
        guard let path else {
            descriptor = STDIN_FILENO
            return
        }
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandFailure("cannot open \(path): \(String(cString: strerror(errno)))") }
    }

    deinit {
        if closes { close(descriptor) }
    }

    /// Whether the next line may have to be waited for.
    var wouldBlock: Bool {
        if isAtEnd || hasLine { return false }
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, 0) == 0
    }

    private var hasLine: Bool {
        buffer.readableBytesView.dropFirst(searched).contains(UInt8(ascii: "\n"))
    }

    /// The next line without its end; nil behind the last.
    mutating func next() throws(CommandFailure) -> ByteBuffer? {
        while true {
            let view = buffer.readableBytesView
            if let end = view.dropFirst(searched).firstIndex(of: UInt8(ascii: "\n")) {
                var line = buffer.readSlice(length: end - view.startIndex) ?? ByteBuffer()
                buffer.moveReaderIndex(forwardBy: 1)
                searched = 0
                if line.readableBytesView.last == UInt8(ascii: "\r") { line.moveWriterIndex(to: line.writerIndex - 1) }
                return line
            }
            searched = view.count
            if isAtEnd {
                guard searched > 0, !Interruption.isWanted else { return nil }
                searched = 0
                return buffer.readSlice(length: buffer.readableBytes)
            }
            guard searched < Self.longest else { throw CommandFailure("a line is longer than \(SizeText.of(Self.longest))") }
            try fill()
        }
    }

    private mutating func fill() throws(CommandFailure) {
        buffer.discardReadBytes()
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while Glibc.poll(&waiting, 1, 100) == 0, !Interruption.isWanted {}
        if Interruption.isWanted {
            isAtEnd = true
            return
        }
        var count = 0
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 256 << 10) { bytes in
            count = read(descriptor, bytes.baseAddress, 256 << 10)
            return max(0, count)
        }
        if count < 0, errno != EINTR { throw CommandFailure("cannot read: \(String(cString: strerror(errno)))") }
        isAtEnd = count == 0
    }
}
