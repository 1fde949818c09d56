// TCP as its users see it: bytes of one connection arrive in order or not at all, a connection may break at any moment, what was under
// way may still arrive after its sender has given up, and what a partition holds back arrives when it heals.
import DequeModule
import Primitives

/// A machine with one process that may run on it.
public final class Host {
    public let id: NodeID
    public let index: Int
    public let dataCenter: Int
    /// Counts the process's starts.
    public internal(set) var incarnation = 0
    /// Whether the process runs.
    public internal(set) var isRunning = false
    /// Whether the machine has power: without it nobody is told that connections are gone.
    public internal(set) var hasPower = true
    var receive: ((SimulatedRequest, ReplyPath) -> Void)?
    /// A connection that the process accepted was closed by the other side.
    var closed: ((SimulatedConnection) -> Void)?

    init(id: NodeID, index: Int, dataCenter: Int) {
        self.id = id
        self.index = index
        self.dataCenter = dataCenter
    }
}

/// Where the answer to a request goes.
struct ReplyPath {
    let connection: SimulatedConnection
    let serial: Int
}

/// How far apart machines are, in microseconds.
struct NetworkTiming {
    var withinDataCenter: ClosedRange<Int64> = 100...800
    /// Between different data centres, by the pair.
    var between: [[Int64]] = []
    /// In thousandths: messages that take much longer than others.
    var spikes: Int64 = 2
    var spike: ClosedRange<Int64> = 5_000...300_000
}

/// All links and connections of a world.
final class SimulatedNetwork {
    let scheduler: Scheduler
    let trace: Trace
    private(set) var hosts: [Host] = []
    var timing = NetworkTiming()
    private var random: SeededRandom
    /// Whether bytes from one host to another are held back.
    private var blocked: [[Bool]] = []
    private var connections: [SimulatedConnection] = []
    private var nextConnection = 0

    init(scheduler: Scheduler, trace: Trace, seed: UInt64) {
        self.scheduler = scheduler
        self.trace = trace
        random = SeededRandom(seed: seed)
    }

    func addHost(id: NodeID, dataCenter: Int) -> Host {
        let host = Host(id: id, index: hosts.count, dataCenter: dataCenter)
        hosts.append(host)
        for row in blocked.indices { blocked[row].append(false) }
        blocked.append(Array(repeating: false, count: hosts.count))
        return host
    }

    func host(_ id: NodeID) -> Host? { hosts.first { $0.id == id } }

    // MARK: Faults

    func isBlocked(from: Host, to: Host) -> Bool { blocked[from.index][to.index] }

    /// Holds back everything from one host to another, in that direction alone.
    func block(from: Host, to: Host) { blocked[from.index][to.index] = true }

    /// Lets everything pass again.
    func heal() {
        for row in blocked.indices { for column in blocked.indices { blocked[row][column] = false } }
        for connection in connections { flush(connection) }
    }

    /// Lets pass again what is held back between two hosts, in both directions.
    func heal(_ first: Host, _ second: Host) {
        blocked[first.index][second.index] = false
        blocked[second.index][first.index] = false
        for connection in connections { flush(connection) }
    }

    private func flush(_ connection: SimulatedConnection) {
        for isToServer in [true, false] where !connection.lane(isToServer).held.isEmpty {
            // Retransmissions come at growing intervals, so a healed link is not used at once.
            scheduler.after(random.between(1_000...400_000)) { [self] in
                let (from, to) = connection.ends(isToServer)
                guard !isBlocked(from: from, to: to) else { return }
                let held = connection.lane(isToServer).held
                connection.lane(isToServer).held = []
                for message in held { deliver(message, connection, isToServer: isToServer) }
            }
        }
    }

    /// Breaks the connections between two hosts; what is under way is lost.
    func reset(_ first: Host, _ second: Host) {
        for connection in connections
        where connection.isOpen
            && ((connection.client === first && connection.server === second)
                || (connection.client === second && connection.server === first))
        {
            connection.isBroken = true
            closeClientEnd(connection, .disconnected)
            guard let closed = connection.server.closed else { continue }
            scheduler.after(latency(first, second)) {
                if connection.server.isRunning, connection.serverIncarnation == connection.server.incarnation { closed(connection) }
            }
        }
    }

    /// The process of a host is gone. With power its system closes the connections; without, nobody is told.
    func processStopped(_ host: Host) {
        for connection in connections {
            if connection.client === host {
                connection.isOpen = false
                connection.waiting.removeAll()
                if host.hasPower { tellServer(connection) }
            } else if connection.server === host, host.hasPower, connection.serverIncarnation != nil {
                transmit(.close, connection, isToServer: false)
            }
        }
        connections.removeAll { !$0.isOpen && $0.isIdle }
    }

    // MARK: Requests

    /// Sends a request by the connection between the two hosts, which is made when there is none. `completion` is called once unless
    /// the sender's process ends before.
    func send(
        _ request: SimulatedRequest, from client: Host, to server: Host, purpose: Int = 0, timeout: VirtualTime,
        completion: @escaping (Result<SimulatedResponse, NetworkError>) -> Void
    ) {
        let connection = openConnection(from: client, to: server, purpose: purpose)
        let serial = connection.nextSerial
        connection.nextSerial += 1
        connection.waiting.append(SimulatedConnection.Waiting(serial: serial, completion: completion))
        transmit(.request(serial, request), connection, isToServer: true)
        scheduler.after(timeout) { [self] in
            guard connection.isOpen, connection.waiting.contains(where: { $0.serial == serial }) else { return }
            // As Kafka's clients do: a connection that owes an answer is given up as a whole.
            trace.note(scheduler.now, "n\(client.id)", "gives up its connection to n\(server.id) after waiting for \(request)")
            closeClientEnd(connection, .timedOut)
        }
    }

    /// Answers a request; answers leave a connection in the order of its requests.
    func reply(_ response: SimulatedResponse, to path: ReplyPath) {
        let connection = path.connection
        guard connection.server.isRunning, connection.serverIncarnation == connection.server.incarnation else { return }
        for (serial, response) in connection.answered(path.serial, response) {
            transmit(.response(serial, response), connection, isToServer: false)
        }
    }

    private func openConnection(from client: Host, to server: Host, purpose: Int) -> SimulatedConnection {
        for connection in connections
        where connection.isOpen && connection.client === client && connection.server === server && connection.purpose == purpose {
            return connection
        }
        connections.removeAll { !$0.isOpen && $0.isIdle }
        nextConnection += 1
        let connection = SimulatedConnection(id: nextConnection, client: client, server: server, purpose: purpose)
        // The handshake: the first bytes arrive no earlier than a round trip later.
        connection.lane(true).lastArrival = scheduler.now + latency(client, server) + latency(server, client)
        connections.append(connection)
        return connection
    }

    private func closeClientEnd(_ connection: SimulatedConnection, _ failure: NetworkError) {
        guard connection.isOpen else { return }
        connection.isOpen = false
        let waiting = connection.waiting
        connection.waiting.removeAll()
        tellServer(connection)
        for request in waiting { request.completion(.failure(failure)) }
    }

    private func tellServer(_ connection: SimulatedConnection) {
        if !connection.isBroken, connection.server.closed != nil { transmit(.close, connection, isToServer: true) }
    }

    /// Tries whether anybody listens on a host, with a connection that is not used: true or false, or nil when no answer comes in time.
    func probe(from client: Host, to server: Host, timeout: VirtualTime, completion: @escaping (Bool?) -> Void) {
        let incarnation = client.incarnation
        func finish(_ answer: Bool?) { if client.isRunning, client.incarnation == incarnation { completion(answer) } }
        scheduler.after(latency(client, server)) { [self] in
            guard !isBlocked(from: client, to: server), server.hasPower else { return scheduler.after(timeout) { finish(nil) } }
            let answer = server.isRunning
            scheduler.after(latency(server, client)) { [self] in
                guard !isBlocked(from: server, to: client) else { return scheduler.after(timeout) { finish(nil) } }
                finish(answer)
            }
        }
    }

    /// Closes the connection that a client has to a server, if there is one: what waits on it fails.
    func disconnect(from client: Host, to server: Host, purpose: Int) {
        for connection in connections
        where connection.isOpen && connection.client === client && connection.server === server && connection.purpose == purpose {
            closeClientEnd(connection, .disconnected)
        }
    }

    // MARK: Bytes

    func latency(_ from: Host, _ to: Host) -> VirtualTime {
        var time = random.between(timing.withinDataCenter)
        if from.dataCenter != to.dataCenter { time += timing.between[from.dataCenter][to.dataCenter] }
        if random.chance(timing.spikes) { time += random.between(timing.spike) }
        return time
    }

    private func transmit(_ message: SimulatedConnection.Message, _ connection: SimulatedConnection, isToServer: Bool) {
        let (from, to) = connection.ends(isToServer)
        let lane = connection.lane(isToServer)
        lane.lastArrival = max(scheduler.now + latency(from, to), lane.lastArrival + 1)
        lane.underWay += 1
        scheduler.at(lane.lastArrival) { [self] in
            lane.underWay -= 1
            if !lane.held.isEmpty || isBlocked(from: from, to: to) {
                lane.held.append(message)
            } else {
                deliver(message, connection, isToServer: isToServer)
            }
        }
    }

    private func deliver(_ message: SimulatedConnection.Message, _ connection: SimulatedConnection, isToServer: Bool) {
        guard !connection.isBroken else { return }
        switch message {
        case .request(let serial, let request): accept(serial, request, connection)
        case .response(let serial, let response):
            guard connection.isOpen, let index = connection.waiting.firstIndex(where: { $0.serial == serial }) else { return }
            connection.waiting.remove(at: index).completion(.success(response))
        case .close where isToServer:
            if connection.server.isRunning, connection.serverIncarnation == connection.server.incarnation {
                connection.server.closed?(connection)
            }
        case .close:
            guard connection.isOpen else { return }
            trace.note(scheduler.now, "n\(connection.client.id)", "sees its connection to n\(connection.server.id) closed")
            closeClientEnd(connection, .disconnected)
        }
    }

    private func accept(_ serial: Int, _ request: SimulatedRequest, _ connection: SimulatedConnection) {
        let server = connection.server
        guard server.hasPower else { return }
        guard server.isRunning, connection.serverIncarnation == nil || connection.serverIncarnation == server.incarnation else {
            // Nobody listens, or not the process that accepted: the system answers with a reset.
            transmit(.close, connection, isToServer: false)
            return
        }
        connection.serverIncarnation = server.incarnation
        connection.expectAnswer(serial)
        server.receive?(request, ReplyPath(connection: connection, serial: serial))
    }
}

/// Why a request has no answer.
enum NetworkError: Error {
    case disconnected
    case timedOut
}

/// One TCP connection, from the one that opened it to the one that accepted it.
final class SimulatedConnection {
    enum Message {
        case request(Int, SimulatedRequest)
        case response(Int, SimulatedResponse)
        case close
    }

    struct Waiting {
        let serial: Int
        let completion: (Result<SimulatedResponse, NetworkError>) -> Void
    }

    /// One direction.
    final class Lane {
        var lastArrival: VirtualTime = 0
        var underWay = 0
        var held: [Message] = []
    }

    let id: Int
    let client: Host
    let server: Host
    /// Connections of different purposes between the same hosts are different connections.
    let purpose: Int
    /// False when the client has closed its end or lost it.
    var isOpen = true
    /// Reset: nothing arrives any more, in neither direction.
    var isBroken = false
    var serverIncarnation: Int?
    /// The broker whose heartbeats the server got by this connection.
    var heartbeats: (id: NodeID, epoch: Int64)?
    var nextSerial = 0
    var waiting: [Waiting] = []
    private let toServer = Lane()
    private let toClient = Lane()
    private var unanswered = Deque<(serial: Int, response: SimulatedResponse?)>()

    init(id: Int, client: Host, server: Host, purpose: Int) {
        self.id = id
        self.client = client
        self.server = server
        self.purpose = purpose
    }

    var isIdle: Bool {
        isBroken || (toServer.underWay == 0 && toClient.underWay == 0 && toServer.held.isEmpty && toClient.held.isEmpty)
    }

    func lane(_ isToServer: Bool) -> Lane { isToServer ? toServer : toClient }

    func ends(_ isToServer: Bool) -> (from: Host, to: Host) { isToServer ? (client, server) : (server, client) }

    func expectAnswer(_ serial: Int) { unanswered.append((serial, nil)) }

    /// Notes an answer and takes out those whose turn has come.
    func answered(_ serial: Int, _ response: SimulatedResponse) -> [(Int, SimulatedResponse)] {
        guard let index = unanswered.firstIndex(where: { $0.serial == serial }) else { return [] }
        unanswered[index].response = response
        var ready: [(Int, SimulatedResponse)] = []
        while let first = unanswered.first, let response = first.response {
            ready.append((first.serial, response))
            unanswered.removeFirst()
        }
        return ready
    }
}
