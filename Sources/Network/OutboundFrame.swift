// What a handler gives back: a response as a short list of byte buffers and file ranges, so that record batches go from the page
// cache to the socket without passing through the process.
import NIOCore

/// A range of an open file, to be sent as it is.
///
/// The file must not shrink below `offset + length` while the slice lives: a range that ends early closes the connection, because the
/// size of the response has been announced already.
public struct FileSlice: Sendable {
    /// Whatever keeps `descriptor` open; released when the last byte has been handed to the kernel or the connection is gone.
    public let owner: any AnyObject & Sendable
    /// The open file.
    public let descriptor: Int32
    /// Where the range starts, in bytes from the start of the file.
    public let offset: Int
    /// Length of the range in bytes, greater than zero.
    public let length: Int

    public init(owner: any AnyObject & Sendable, descriptor: Int32, offset: Int, length: Int) {
        precondition(offset >= 0 && length > 0, "a file slice is a non-empty range")
        self.owner = owner
        self.descriptor = descriptor
        self.offset = offset
        self.length = length
    }

    /// The beginning of the range, at most `count` bytes of it.
    func prefix(_ count: Int) -> FileSlice {
        FileSlice(owner: owner, descriptor: descriptor, offset: offset, length: min(length, count))
    }
}

/// One piece of a response.
public enum OutboundSegment: Sendable {
    case bytes(ByteBuffer)
    case file(FileSlice)

    /// Number of bytes this piece puts on the wire.
    public var length: Int {
        switch self {
        case .bytes(let buffer): return buffer.readableBytes
        case .file(let slice): return slice.length
        }
    }
}

/// A whole response, size prefix included.
///
/// The first four bytes of the first buffer are reserved for Kafka's size prefix: whoever encodes leaves room for them
/// (``sizePrefixLength``), `Connection.send` fills them in, and nothing has to be moved or counted twice.
public struct OutboundFrame: Sendable {
    /// Bytes to leave free at the front of the first buffer.
    public static let sizePrefixLength = 4

    /// The front of the response, beginning with the reserved size prefix.
    var head: ByteBuffer
    /// What follows; empty for nearly every response, which then costs no allocation.
    var rest: [OutboundSegment] = []
    /// Bytes on the wire, size prefix included.
    public private(set) var totalLength: Int

    /// A frame that starts with `head`, whose first four readable bytes are reserved for the size.
    public init(_ head: ByteBuffer) {
        precondition(head.readableBytes >= Self.sizePrefixLength, "the size prefix has no room")
        self.head = head
        totalLength = head.readableBytes
    }

    /// Adds bytes behind what is there; empty buffers are dropped.
    public mutating func append(_ buffer: ByteBuffer) {
        guard buffer.readableBytes > 0 else { return }
        totalLength += buffer.readableBytes
        rest.append(.bytes(buffer))
    }

    /// Adds a file range behind what is there.
    public mutating func append(_ slice: FileSlice) {
        totalLength += slice.length
        rest.append(.file(slice))
    }

    /// Adds a piece behind what is there.
    public mutating func append(_ segment: OutboundSegment) {
        switch segment {
        case .bytes(let buffer): append(buffer)
        case .file(let slice): append(slice)
        }
    }

    /// Room for `count` further pieces, for responses with many file ranges.
    public mutating func reserveSegments(_ count: Int) {
        rest.reserveCapacity(rest.count + count)
    }

    /// Writes the size of what follows into the reserved four bytes.
    mutating func fillInSize() {
        head.setInteger(Int32(totalLength - Self.sizePrefixLength), at: head.readerIndex)
    }
}
