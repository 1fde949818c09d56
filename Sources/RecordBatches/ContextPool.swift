// The codecs' own working memory, kept between uses: making a compressor costs more than compressing a small batch.
import Synchronization

/// A few idle contexts of one kind. Any thread may take one; it belongs to it until it is given back.
struct ContextPool: ~Copyable, Sendable {
    /// A codec's context. Only its borrower touches it, which is what makes handing it between threads safe.
    private struct Context: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    /// More than this many threads compressing at once make and free theirs each time.
    private static let maximumIdle = 4

    private let type: CompressionType
    private let idle = Mutex<[Context]>([])
    private let create: @Sendable () -> OpaquePointer?
    private let destroy: @Sendable (OpaquePointer) -> Void

    init(
        _ type: CompressionType, create: @escaping @Sendable () -> OpaquePointer?, destroy: @escaping @Sendable (OpaquePointer) -> Void
    ) {
        self.type = type
        self.create = create
        self.destroy = destroy
    }

    /// Run `body` with a context. One whose use failed is not used again: resetting it is not enough in every version of every library
    /// (liblz4 1.9 carries the content size announced by a damaged frame over to the next one).
    func withContext<Result>(
        _ body: (OpaquePointer) throws(RecordBatchError) -> Result
    ) throws(RecordBatchError) -> Result {
        let kept = idle.withLock { $0.popLast() }
        guard let context = kept ?? create().map(Context.init) else { throw .compressionFailed(type, "out of memory") }
        let result: Result
        do throws(RecordBatchError) {
            result = try body(context.pointer)
        } catch {
            destroy(context.pointer)
            throw error
        }
        let isKept = idle.withLock { contexts in
            guard contexts.count < Self.maximumIdle else { return false }
            contexts.append(context)
            return true
        }
        if !isKept { destroy(context.pointer) }
        return result
    }
}
