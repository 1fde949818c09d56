// Operators of clusters with links: they make links and mirrors, pause, take over, give back and delete, at any time and often twice.
import Collections
import Linking
import Primitives

/// Who tells links what to do.
final class LinkOperators {
    /// A link that belongs to the plan.
    struct Route {
        var name: String
        var destination: String
        var source: String
        var prefix = ""
    }

    private unowned let world: LinkWorld
    private(set) var routes: [Route] = []
    private var isWindingUp = false

    init(_ world: LinkWorld) {
        self.world = world
    }

    func start() {
        switch world.plan.shape {
        case .pair: routes = [Route(name: "dr", destination: "B", source: "A"), Route(name: "back", destination: "A", source: "B")]
        case .chain:
            routes = [
                Route(name: "dr", destination: "B", source: "A"), Route(name: "dr", destination: "C", source: "B"),
                Route(name: "back", destination: "A", source: "B"), Route(name: "back", destination: "B", source: "C"),
            ]
        case .prefixed:
            routes = [
                Route(name: "dr", destination: "B", source: "A", prefix: "a."),
                Route(name: "back", destination: "A", source: "B", prefix: "b."),
            ]
        }
        for index in 0..<world.plan.topics { _ = world.clusters[0].create("t\(index)", partitions: world.plan.partitions) }
        if world.plan.shape == .prefixed { _ = world.clusters[1].create("u", partitions: world.plan.partitions) }
        world.after(100...1_000) { [self] in command() }
    }

    private func command() {
        guard !isWindingUp else { return }
        let route = world.random.pick(routes)
        let repeats = world.random.chance(300) ? 2 : 1
        if let cluster = world.cluster(route.destination) {
            let mirrors = cluster.committedImage.mirrors(of: route.name)
            let act = action(route, cluster, mirrors)
            for _ in 0..<repeats { act() }
        }
        world.scheduler.after(world.random.between(world.plan.commandInterval / 4...world.plan.commandInterval)) { [self] in command() }
    }

    private func action(_ route: Route, _ cluster: ModelCluster, _ mirrors: [MirrorTopic]) -> () -> Void {
        guard cluster.committedImage.links[route.name] != nil else { return { [self] in createLink(route, cluster) } }
        if world.plan.takesTurns, world.random.chance(700) { return turn(route, cluster, mirrors) }
        let topics: [String]? = mirrors.isEmpty || world.random.chance(300) ? nil : [world.random.pick(mirrors).name]
        func verb(_ verb: MirrorVerb) -> () -> Void { { [self] in change(verb, route.name, topics, cluster) } }
        switch world.random.below(100) {
        case 0..<25: return { [self] in mirror(route, cluster, isRestoring: false) }
        case 25..<50: return { [self] in mirror(route, cluster, isRestoring: true) }
        case 50..<55: return verb(.pause)
        case 55..<65: return verb(.resume)
        case 65..<82: return verb(.promote)
        case 82..<91: return verb(.failover)
        case 91..<97:
            let isPaused = world.random.chance(300)
            return { [self] in pause(route, isPaused, cluster) }
        default: return { [self] in deleteLink(route, cluster) }
        }
    }

    /// What comes next when clusters take over from each other in turns.
    private func turn(_ route: Route, _ cluster: ModelCluster, _ mirrors: [MirrorTopic]) -> () -> Void {
        if let mirror = mirrors.first(where: { $0.state == .active }) {
            return { [self] in change(.promote, route.name, [mirror.name], cluster) }
        }
        let isRestoring = !cluster.topics.isEmpty && mirrors.allSatisfy(\.state.isWritable)
        return { [self] in mirror(route, cluster, isRestoring: isRestoring) }
    }

    private func createLink(_ route: Route, _ cluster: ModelCluster) {
        var configuration: OrderedDictionary<String, String> = ["bootstrap.servers": "\(route.source):9092"]
        if !world.plan.isAtomic { configuration["mirror.transactions.atomic.enable"] = "false" }
        if !route.prefix.isEmpty {
            configuration["cluster.link.prefix"] = route.prefix
            configuration["auto.create.mirror.topics.enable"] = "true"
            configuration["auto.create.mirror.topics.filters"] =
                "{\"topicFilters\":[{\"name\":\"*\",\"patternType\":\"LITERAL\",\"filterType\":\"INCLUDE\"}]}"
        }
        let link = LinkDefinition(
            name: route.name, id: world.freshID(), configuration: configuration, sourceClusterID: route.source, createdAt: world.now)
        submit(cluster, "create link \(route.name)") { core throws(LinkRefusal) in try core.createLink(link) }
    }

    private func deleteLink(_ route: Route, _ cluster: ModelCluster) {
        submit(cluster, "delete link \(route.name)") { core throws(LinkRefusal) in try core.deleteLink(route.name, force: false) }
    }

    private func pause(_ route: Route, _ isPaused: Bool, _ cluster: ModelCluster) {
        let value = isPaused ? "true" : "false"
        guard cluster.committedImage.links[route.name]?.configuration["cluster.link.paused"] ?? "false" != value else { return }
        submit(cluster, "link \(route.name) paused: \(value)") { core throws(LinkRefusal) in
            try core.alterLink(route.name, set: ["cluster.link.paused": value], remove: [])
        }
    }

    /// As `LinkServices.createMirrors`.
    private func mirror(_ route: Route, _ cluster: ModelCluster, isRestoring: Bool) {
        guard let source = world.cluster(route.source), let coordinator = cluster.coordinator, coordinator.isActive,
            let chosen = source.sortedTopics.first(where: { _ in world.random.chance(500) }) ?? source.sortedTopics.first
        else { return }
        // By themselves topics without the prefix are mirrored; those with it would go back and forth by hand.
        guard route.prefix.isEmpty || !chosen.name.contains(".") else { return }
        let (name, id) = (chosen.name, chosen.id)
        world.ask(
            coordinator.broker, source, { source.topics[name].map { ($0.partitions.count, source.committedImage.sourceMirrors[name]) } }
        ) { [self] answer in
            guard let (count, theirs) = answer else { return }
            if isRestoring, let problem = NewMirrors.problem(withRestoring: name, theirs, clusterID: cluster.name) {
                return cluster.note("refused: \(problem)")
            }
            let own = cluster.topics[route.prefix + name]
            guard isRestoring == (own != nil), (own?.partitions.count ?? 0) <= count else { return }
            var mirror = MirrorTopic(
                name: route.prefix + name, link: route.name, sourceName: name, sourceID: id, state: .pendingMirror, since: world.now)
            if let own {
                mirror.topicID = own.id
                mirror.state = .pendingRestore
            }
            let added = mirror
            submit(cluster, "\(isRestoring ? "restore" : "mirror") \(mirror.name)") { core throws(LinkRefusal) in try core.addMirror(added)
            }
        }
    }

    private func change(_ verb: MirrorVerb, _ link: String, _ topics: [String]?, _ cluster: ModelCluster) {
        let now = world.now
        submit(cluster, "\(verb.rawValue) \(topics?.joined(separator: " ") ?? "all") of \(link)") { [self] core throws(LinkRefusal) in
            let plan = try core.plan(verb, link: link, topics: topics)
            let records = core.records(verb, plan, reason: "\(verb.rawValue) was asked for", now: now)
            checkAgain(verb, link, topics, core, records)
            return records
        }
    }

    /// Said again, a verb changes nothing.
    private func checkAgain(
        _ verb: MirrorVerb, _ link: String, _ topics: [String]?, _ core: LinkCoordinator, _ records: [LinkRecord]
    ) {
        var after = core
        for record in records { after.replay(record) }
        guard let plan = try? after.plan(verb, link: link, topics: topics) else { return }
        let again = after.records(verb, plan, reason: "\(verb.rawValue) was asked for", now: world.now + 1)
        if !again.isEmpty { world.fail(.verbsMayBeRepeated, "\(verb.rawValue) said again records \(again.map(LinkLedger.words))") }
    }

    private func submit(_ cluster: ModelCluster, _ words: String, _ step: (LinkCoordinator) throws(LinkRefusal) -> [LinkRecord]) {
        guard let coordinator = cluster.coordinator, coordinator.isActive else { return }
        cluster.note("operator: \(words)")
        coordinator.change(step) { result in
            if case .failure(let refusal) = result { cluster.note("refused: \(refusal)") }
        }
    }

    // MARK: The end

    /// Everything paused goes on, and what cannot go on is failed over.
    func windUp() {
        isWindingUp = true
        windUp(after: world.scheduler.now)
    }

    private func windUp(after began: VirtualTime) {
        let isLate = world.scheduler.now - began > .seconds(60)
        for route in routes {
            guard let cluster = world.cluster(route.destination), cluster.committedImage.links[route.name] != nil else { continue }
            pause(route, false, cluster)
            for mirror in cluster.committedImage.mirrors(of: route.name) {
                switch mirror.state {
                case .paused: change(.resume, route.name, [mirror.name], cluster)
                case .failed: change(.failover, route.name, [mirror.name], cluster)
                case .pendingStopped where isLate, .pendingSynchronize where isLate: change(.failover, route.name, [mirror.name], cluster)
                default: break
                }
            }
        }
        world.after(2_000...4_000) { [self] in windUp(after: began) }
    }
}
