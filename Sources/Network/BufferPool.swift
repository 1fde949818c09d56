// Large receive buffers of one event loop, used again and again: asking malloc for 256 KiB per request costs page faults that show
// in every gigabyte, and a buffer that was just used is still in the cache.
import NIOCore

/// Free buffers of one loop; not thread-safe.
final class BufferPool {
    /// Capacity of a receive buffer: a 128 KiB produce frame and its prefix fit with one read.
    static let scratchCapacity = 262_144
    /// The largest buffer that is kept.
    let largestPooled: Int
    private let maximumPooledBytes: Int

    private var free: [ByteBuffer] = []
    private(set) var pooledBytes = 0
    // The fewest free buffers seen since the last trim: those were not needed.
    private var leastFree = 0

    /// - Parameters:
    ///   - largestPooled: bytes of the largest buffer that is kept.
    ///   - maximumPooledBytes: bytes kept in all.
    init(largestPooled: Int = 4_194_304, maximumPooledBytes: Int = 8_388_608) {
        self.largestPooled = largestPooled
        self.maximumPooledBytes = maximumPooledBytes
    }

    /// An empty, uniquely referenced buffer of at least `minimumCapacity` bytes.
    func take(minimumCapacity: Int = scratchCapacity) -> ByteBuffer {
        // Last in, first out: the most recently used buffer is the one in the cache.
        if let index = free.lastIndex(where: { $0.capacity >= minimumCapacity }) {
            let buffer = index == free.count - 1 ? free.removeLast() : free.remove(at: index)
            pooledBytes -= buffer.capacity
            leastFree = min(leastFree, free.count)
            return buffer
        }
        var buffer = ByteBuffer()
        buffer.reserveCapacity(max(minimumCapacity, Self.scratchCapacity))
        return buffer
    }

    /// Takes a buffer back, unless somebody still holds a part of it.
    func recycle(_ buffer: inout ByteBuffer) {
        // `clear` gives a limited buffer its whole memory back.
        let capacity = buffer.modifyIfUniquelyOwned { buffer in
            buffer.clear()
            return buffer.capacity
        }
        if let capacity, capacity >= Self.scratchCapacity, capacity <= largestPooled,
            pooledBytes + capacity <= maximumPooledBytes
        {
            pooledBytes += capacity
            free.append(buffer)
        }
        buffer = ByteBuffer()
    }

    /// Frees what has not been used since the last trim.
    func trim() {
        // The oldest ones are at the front.
        for buffer in free.prefix(leastFree) {
            pooledBytes -= buffer.capacity
        }
        free.removeFirst(leastFree)
        leastFree = free.count
    }
}
