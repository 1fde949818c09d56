// Decides about links and mirror topics: a request and the time come in, records and an answer go out. Nothing changes but by replaying.
import Collections
import Primitives

/// Why a request about links is refused.
public struct LinkRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Sendable, Hashable {
        case invalid
        case unknownLink
        case unknownMirror
        case exists
        case wrongState
    }

    public var kind: Kind
    public var description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// What became of a verb for one mirror topic.
public struct MirrorChange: Sendable, Hashable {
    public var mirror: MirrorTopic
    /// Nil when nothing speaks against it.
    public var refusal: String?
}

/// The coordinator's decisions.
public struct LinkCoordinator: Sendable {
    public private(set) var image = LinkImage()
    /// By link. Nobody but the coordinator needs to know.
    public internal(set) var transactions: [String: SettledTransactions] = [:]

    public init() {}

    public mutating func replay(_ record: LinkRecord) {
        image.replay(record)
        replayTransactions(record)
    }

    // MARK: Links

    public func createLink(_ link: LinkDefinition) throws(LinkRefusal) -> [LinkRecord] {
        if let problem = LinkDefinition.problem(withName: link.name) { throw LinkRefusal(.invalid, problem) }
        guard image.links[link.name] == nil else {
            throw LinkRefusal(.exists, "there is a link '\(link.name)' already; `martlet link config` changes it")
        }
        _ = try settings(link.configuration)
        return [.link(link)]
    }

    /// Sets and removes settings.
    public func alterLink(
        _ name: String, set: OrderedDictionary<String, String>, remove: [String]
    ) throws(LinkRefusal) -> [LinkRecord] {
        var link = try link(name)
        for key in Array(set.keys) + remove where LinkSettings.table.contains(where: { $0.key == key && !$0.isMutable }) {
            throw LinkRefusal(.invalid, "\(key) is fixed when a link is made")
        }
        for key in remove { link.configuration[key] = nil }
        for (key, value) in set { link.configuration[key] = value }
        _ = try settings(link.configuration)
        return [.link(link)]
    }

    /// Removes a link. Mirrors that are not stopped would never be told anything again, so there may be none unless it is forced: then they
    /// become writable as they are.
    public func deleteLink(_ name: String, force: Bool) throws(LinkRefusal) -> [LinkRecord] {
        _ = try link(name)
        let mirrors = image.mirrors(of: name)
        let live = mirrors.filter { $0.state != .stopped }
        guard live.isEmpty || force else {
            throw LinkRefusal(
                .wrongState,
                "link '\(name)' has \(live.count) mirror topic\(live.count == 1 ? "" : "s"), such as '\(live[0].name)'; promote or fail over "
                    + "them first, or --force to make them writable as they are")
        }
        return forgetAll(link: name) + forgetTransactions(of: name) + mirrors.map { .mirrorRemoved($0.name) } + [.linkRemoved(name)]
    }

    // MARK: Mirrors

    /// Begins to mirror a topic; the topic itself is created by whoever asks.
    public func addMirror(_ mirror: MirrorTopic) throws(LinkRefusal) -> [LinkRecord] {
        guard try settings(link(mirror.link).configuration).mirrors else {
            throw LinkRefusal(.invalid, LinkMode.noMirrors(over: mirror.link))
        }
        if let known = image.mirrors[mirror.name], known.state != .stopped || mirror.state != .pendingRestore {
            throw LinkRefusal(.exists, "'\(mirror.name)' mirrors '\(known.sourceName)' of link '\(known.link)' already")
        }
        // What another cluster took over comes back as its mirror.
        return [.mirror(mirror)] + (mirror.state == .pendingRestore ? unfence([mirror.name]) : []) + forgetSettled(mirror.name)
    }

    /// What a verb does to some mirrors. Nothing is changed; `records` makes it so.
    public func plan(_ verb: MirrorVerb, link: String, topics: [String]?) throws(LinkRefusal) -> [MirrorChange] {
        _ = try self.link(link)
        let chosen: [MirrorTopic]
        if let topics {
            var found: [MirrorTopic] = []
            for name in topics {
                guard let mirror = image.mirrors[name], mirror.link == link else {
                    throw LinkRefusal(.unknownMirror, "'\(name)' is no mirror topic of link '\(link)'; `martlet link mirrors` lists them")
                }
                found.append(mirror)
            }
            chosen = found
        } else {
            chosen = image.mirrors(of: link)
        }
        return chosen.map { mirror in
            let isPossible = verb.target(from: mirror.state) != nil
            let refusal = "'\(mirror.name)' is \(mirror.state.rawValue), which \(verb.rawValue) does not fit"
            return MirrorChange(mirror: mirror, refusal: isPossible ? MirrorReversal.refusal(verb, mirror) : refusal)
        }
    }

    /// The records of a plan's changes that nothing speaks against, and that change anything.
    public func records(_ verb: MirrorVerb, _ plan: [MirrorChange], reason: String, now: Timestamp) -> [LinkRecord] {
        plan.compactMap { change in
            guard change.refusal == nil, var target = verb.target(from: change.mirror.state) else { return nil }
            if target == .active, change.mirror.isRestoring { target = .pendingRestore }
            let reversal = change.mirror.reversal.after(verb)
            guard target != change.mirror.state || reversal != change.mirror.reversal else { return nil }
            var changed = target == change.mirror.state ? change.mirror : change.mirror.entering(target, reason, at: now)
            changed.reversal = reversal
            return .mirror(changed)
        }
    }

    /// A mirror topic is gone here.
    public func removeMirror(_ name: String) -> [LinkRecord] { image.mirrors[name] == nil ? [] : [.mirrorRemoved(name)] }

    // MARK: Fences

    /// Another cluster takes over topics of this one.
    public func fence(_ topics: [String], by: String, now: Timestamp) -> [LinkRecord] {
        topics.compactMap { topic in
            if image.fences[topic] != nil { return nil }
            return .fence(TopicFence(topic: topic, by: by, since: now))
        }
    }

    public func unfence(_ topics: [String]) -> [LinkRecord] {
        topics.compactMap { image.fences[$0] == nil ? nil : .fenceRemoved($0) }
    }

    private func link(_ name: String) throws(LinkRefusal) -> LinkDefinition {
        guard let link = image.links[name] else {
            let known = image.links.isEmpty ? "there are none" : "there is " + image.links.keys.joined(separator: ", ")
            throw LinkRefusal(.unknownLink, "there is no link '\(name)'; \(known)")
        }
        return link
    }

    private func settings(_ configuration: OrderedDictionary<String, String>) throws(LinkRefusal) -> LinkSettings {
        do throws(LinkSettingError) {
            return try LinkSettings(configuration)
        } catch {
            throw LinkRefusal(.invalid, "\(error)")
        }
    }
}
