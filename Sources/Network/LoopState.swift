// What the connections of one event loop share. Everything but the counters is touched on that loop only.
import Glibc
import NIOCore
import Primitives
import Synchronization

final class LoopState: @unchecked Sendable {
    // Sound because all mutable state below is confined to `eventLoop`.

    /// Size of the block in which small responses are gathered for one write.
    static let gatherCapacity = 65_536

    let eventLoop: any EventLoop
    let counters = LoopCounters()
    // Clock of the CPU time of the loop's thread, and its last reading; 0 until the thread has told.
    private let threadClock = Atomic<Int32>(0)
    private let lastReading = Mutex<(cpu: Int64, wall: Int64)?>(nil)
    /// Open connections per listener, by the listener's index; atomics because scrapes read them.
    let connectionsByListener: [ListenerCount]
    let pool = BufferPool()
    private(set) lazy var gather = UnsafeMutableRawPointer.allocate(byteCount: Self.gatherCapacity, alignment: 64)
    private var hasGather = false
    private var connections: [ConnectionChannelHandler] = []
    private(set) var isDraining = false
    private var drained: EventLoopPromise<Void>?
    private var ticking: RepeatedTask?
    /// Counts the ticks; a connection notes the one it was last active in.
    private(set) var tick = 0
    private let idleMilliseconds: Int64
    private var waitingForMemory: [ConnectionChannelHandler] = []

    /// Ticks per idle time: a connection is closed at most an eighth too late.
    private static let ticksPerIdleTime = 8

    final class ListenerCount: Sendable {
        let value = Atomic<Int>(0)
    }

    init(eventLoop: any EventLoop, listenerCount: Int, idleMilliseconds: Int64) {
        self.eventLoop = eventLoop
        self.idleMilliseconds = idleMilliseconds
        connectionsByListener = (0..<listenerCount).map { _ in ListenerCount() }
    }

    deinit {
        if hasGather { gather.deallocate() }
    }

    /// Gathers small buffers into one block and hands it to `body`.
    func withGatherBlock<Result>(_ body: (UnsafeMutableRawPointer) -> Result) -> Result {
        hasGather = true
        return body(gather)
    }

    // MARK: connections

    func add(_ connection: ConnectionChannelHandler) {
        connection.loopIndex = connections.count
        connections.append(connection)
        LoopCounters.add(1, to: counters.connectionsOpened)
        LoopCounters.add(1, to: connectionsByListener[connection.listenerIndex].value)
        startTicking()
    }

    func remove(_ connection: ConnectionChannelHandler) {
        // The last one takes the place of the one that leaves.
        let index = connection.loopIndex
        let last = connections.removeLast()
        if last !== connection {
            connections[index] = last
            last.loopIndex = index
        }
        LoopCounters.add(1, to: counters.connectionsClosed)
        LoopCounters.add(-1, to: connectionsByListener[connection.listenerIndex].value)
        if connections.isEmpty {
            drained?.succeed(())
            drained = nil
        }
    }

    // MARK: load

    /// Notes which thread runs the loop. Called on the loop.
    func noteThread() {
        var clock: clockid_t = 0
        guard pthread_getcpuclockid(pthread_self(), &clock) == 0 else { return }
        threadClock.store(clock, ordering: .relaxed)
    }

    /// The part of the time since the last call in which the loop's thread did not use the CPU, from 0 to 1; nil the first time.
    /// A thread that has ended reads as idle.
    func idleFraction(now: Int64) -> Double? {
        let clock = threadClock.load(ordering: .relaxed)
        var time = timespec()
        guard clock != 0, clock_gettime(clock, &time) == 0 else { return nil }
        let used = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        return lastReading.withLock { last in
            defer { last = (used, now) }
            guard let last, now > last.wall else { return nil }
            return max(0, min(1, 1 - Double(used - last.cpu) / Double(now - last.wall)))
        }
    }

    // MARK: idle connections

    private var tickMilliseconds: Int64 {
        guard idleMilliseconds >= 0 else { return 10_000 }
        return min(10_000, max(10, idleMilliseconds / Int64(Self.ticksPerIdleTime)))
    }

    /// The timer runs only while there are connections: an idle node does not wake up for it.
    private func startTicking() {
        guard ticking == nil else { return }
        let period = TimeAmount.milliseconds(tickMilliseconds)
        ticking = eventLoop.scheduleRepeatedTask(initialDelay: period, delay: period) { [weak self] task in
            guard let self else { return task.cancel() }
            onTick()
        }
    }

    private func onTick() {
        tick += 1
        pool.trim()
        if idleMilliseconds >= 0 {
            let oldestActive = tick - Int((idleMilliseconds + tickMilliseconds - 1) / tickMilliseconds)
            for connection in connections.filter({ $0.lastActiveTick < oldestActive && $0.mayBeIdle }) {
                LoopCounters.add(1, to: counters.idleCloses)
                connection.close(reason: "idle for \(idleMilliseconds) ms (connections.max.idle.ms)")
            }
        }
        if connections.isEmpty {
            pool.trim()
            ticking?.cancel()
            ticking = nil
        }
    }

    // MARK: waiting for memory

    func waitForMemory(_ connection: ConnectionChannelHandler) {
        waitingForMemory.append(connection)
    }

    /// Memory has become free: everyone tries again, in the order of waiting.
    func memoryFreed() {
        let waiting = waitingForMemory
        waitingForMemory = []
        for connection in waiting {
            connection.resumeAfterMemoryWait()
        }
    }

    // MARK: the end

    /// Closes what is doing nothing, lets requests in progress finish; succeeds when no connection is left.
    func drain() -> EventLoopFuture<Void> {
        isDraining = true
        for connection in connections {
            connection.closeIfDone()
        }
        guard !connections.isEmpty else { return eventLoop.makeSucceededVoidFuture() }
        let promise = drained ?? eventLoop.makePromise()
        drained = promise
        return promise.futureResult
    }

    func closeAll(reason: String) {
        for connection in connections {
            connection.close(reason: reason)
        }
    }
}
