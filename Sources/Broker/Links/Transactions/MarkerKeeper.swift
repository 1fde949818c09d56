// Asks the coordinator of links about the commit markers that this broker's mirrors of one link hold, and lets their fetchers go on.
import Linking
import NIOCore
import Primitives
import Replication
import Synchronization

/// The held markers of one link.
final class MarkerKeeper: Sendable {
    private struct Waiting {
        var fetcher: MirrorFetcher
        var key: FetchSessionKey
    }

    private struct State {
        var waiting: [HeldMarker: Waiting] = [:]
        /// Those that no question on its way is about.
        var unasked: [HeldMarker] = []
        var questions = 0
        var isClosed = false
    }

    private static let maximumQuestions = 8
    private static let markersPerQuestion = 5_000
    private static let retryMilliseconds: Int64 = 50

    private let link: String
    private let events: any LinkEvents
    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    init(link: String, events: any LinkEvents, eventLoop: any EventLoop) {
        self.link = link
        self.events = events
        self.eventLoop = eventLoop
    }

    /// Keeps markers until they may be appended.
    func hold(_ markers: [HeldMarker], of key: FetchSessionKey, fetcher: MirrorFetcher) {
        state.withLock { state in
            guard !state.isClosed else { return }
            for marker in markers {
                if state.waiting.updateValue(Waiting(fetcher: fetcher, key: key), forKey: marker) == nil { state.unasked.append(marker) }
            }
        }
        ask()
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.waiting = [:]
            state.unasked = []
        }
    }

    private func ask() {
        let markers = state.withLock { state -> [HeldMarker] in
            guard !state.isClosed, state.questions < Self.maximumQuestions, !state.unasked.isEmpty else { return [] }
            let markers = Array(state.unasked.prefix(Self.markersPerQuestion))
            state.unasked.removeFirst(markers.count)
            state.questions += 1
            return markers
        }
        guard !markers.isEmpty else { return }
        events.askAbout(markers, link: link) { [weak self] permitted in self?.answered(markers, permitted) }
    }

    private func answered(_ asked: [HeldMarker], _ permitted: [HeldMarker]?) {
        var offsets: [FetchSessionKey: (fetcher: MirrorFetcher, offsets: [Offset])] = [:]
        state.withLock { state in
            state.questions -= 1
            for marker in permitted ?? [] {
                guard let waiting = state.waiting.removeValue(forKey: marker) else { continue }
                offsets[waiting.key, default: (waiting.fetcher, [])].offsets.append(marker.offset)
            }
            state.unasked += asked.filter { state.waiting[$0] != nil }
        }
        for (key, entry) in offsets {
            entry.fetcher.eventLoop.execute { entry.fetcher.permit(entry.offsets, of: key) }
        }
        guard permitted == nil else { return ask() }
        eventLoop.scheduleTask(in: .milliseconds(Self.retryMilliseconds)) { [weak self] in self?.ask() }
    }

    /// A mirror is not fetched here any more.
    func forget(_ partition: TopicPartition) {
        state.withLock { state in
            state.waiting = state.waiting.filter { $0.key.partition != partition }
            state.unasked.removeAll { $0.partition == partition }
        }
    }
}
