// What goes wrong and when. Everything is drawn from the seed; nothing is spared, not even a majority at once: the promises hold
// whatever is lost, except that nothing can be done while too much is.
import Primitives

/// Brings the faults of a plan over a world.
final class QuorumFaults {
    private unowned let world: QuorumWorld
    private var random: SeededRandom
    private(set) var hasEnded = false

    init(_ world: QuorumWorld, seed: UInt64) {
        self.world = world
        random = SeededRandom(seed: seed)
    }

    /// Plans the next fault, which plans the one after it.
    func scheduleNext() {
        guard !world.plan.faults.isEmpty else { return }
        world.scheduler.after(.milliseconds(random.between(20...world.plan.faultInterval))) { [self] in
            guard !hasEnded else { return }
            strike(random.pick(world.plan.faults))
            scheduleNext()
        }
    }

    /// Ends all faults: everything is repaired and runs.
    func end() {
        hasEnded = true
        note("all faults end")
        world.network.heal()
        for node in world.nodes {
            node.diskSlowness = 1
            node.isDiskFull = false
            node.effectsUntilDeath = nil
            if node.isPaused { node.resume() }
        }
        restartAll()
    }

    /// Whoever is down starts; again later, for one that was asked to stop may only then have done so.
    private func restartAll() {
        for node in world.nodes { restore(node) }
        world.scheduler.after(.seconds(1)) { [self] in restartAll() }
    }

    func note(_ text: @autoclosure () -> String) { world.trace.note(world.scheduler.now, "fault", text()) }

    func strike(_ kind: FaultKind) {
        let node = random.pick(world.nodes)
        switch kind {
        case .isolate, .split, .oneWay, .cutLink, .dataCenterLost: cut(kind, node)
        case .heal:
            note("the network heals")
            world.network.heal()
        case .resetConnections:
            let other = random.pick(world.nodes)
            guard other !== node else { return }
            note("connections between n\(node.id) and n\(other.id) are reset")
            world.network.reset(node.host, other.host)
        case .kill:
            node.die("killed")
            restartLater(node)
        case .killAtStep:
            guard node.isRunning else { return }
            let count = Int(random.below(12))
            note("n\(node.id) will die within \(count) effects")
            node.effectsUntilDeath = count
            restartLater(node, after: 3_000)
        case .powerLoss:
            // Now and then the whole data centre, or everything.
            let victims = random.chance(250) ? world.nodes.filter { random.chance(600) || $0 === node } : [node]
            for victim in victims {
                victim.losePower()
                restartLater(victim)
            }
        case .pause:
            guard node.isRunning, !node.isPaused else { return }
            let time = random.between(10...6_000)
            note("n\(node.id) pauses for \(time) ms")
            node.isPaused = true
            node.after(.milliseconds(time)) { if node.isPaused { node.resume() } }
        case .slowDisk:
            node.diskSlowness = random.pick([1, 10, 100])
            note("the disk of n\(node.id) takes \(node.diskSlowness) times its time")
        case .fullDisk:
            note("the disk of n\(node.id) is full")
            node.isDiskFull = true
            world.scheduler.after(.milliseconds(random.between(100...5_000))) { node.isDiskFull = false }
            restartLater(node, after: 6_000)
        case .changeVoters: world.changeVoters()
        case .move:
            guard world.plan.isDynamic, node.isRunning else { return }
            node.configuration.localEndpoints[0].port &+= 1
            node.die("moves to port \(node.configuration.localEndpoints[0].port)")
            restartLater(node)
        case .resign:
            note("n\(node.id) is asked to resign")
            node.enqueue(.resign)
        case .shutDown:
            note("n\(node.id) is asked to stop")
            node.enqueue(.shutDown)
            restartLater(node, after: 5_000)
        }
    }

    private func cut(_ kind: FaultKind, _ node: QuorumNode) {
        let hosts = world.network.hosts
        switch kind {
        case .isolate:
            note("n\(node.id) is cut off")
            separate([node.host], from: hosts.filter { $0 !== node.host })
        case .split:
            let left = hosts.filter { _ in random.chance(500) }
            note("split: \(left.map(\.id)) from the others")
            separate(left, from: hosts.filter { host in !left.contains { $0 === host } })
        case .oneWay:
            let isOut = random.chance(500)
            note("n\(node.id) cannot \(isOut ? "be heard" : "hear")")
            for host in hosts where host !== node.host {
                world.network.block(from: isOut ? node.host : host, to: isOut ? host : node.host)
            }
        case .cutLink:
            let other = random.pick(world.nodes)
            guard other !== node else { return }
            note("nothing passes from n\(node.id) to n\(other.id)")
            world.network.block(from: node.host, to: other.host)
        default:
            let center = node.host.dataCenter
            note("data centre \(center) is cut off")
            separate(hosts.filter { $0.dataCenter == center }, from: hosts.filter { $0.dataCenter != center })
        }
        guard random.chance(800) else { return }
        world.scheduler.after(.milliseconds(random.between(100...6_000))) { [self] in
            guard !hasEnded else { return }
            note("the network heals")
            world.network.heal()
        }
    }

    private func separate(_ left: [Host], from right: [Host]) {
        for first in left {
            for second in right {
                world.network.block(from: first, to: second)
                world.network.block(from: second, to: first)
            }
        }
    }

    func restartLater(_ node: QuorumNode, after earliest: Int64 = 5) {
        world.scheduler.after(.milliseconds(random.between(earliest...(earliest + random.pick([20, 1_000, 5_000]))))) { [self] in
            guard !hasEnded else { return }
            restore(node)
        }
    }

    func restore(_ node: QuorumNode) {
        node.host.hasPower = true
        if !node.isRunning { node.boot() }
    }
}
