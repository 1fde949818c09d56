// The last of a mirror before it becomes writable: groups get what its settled transactions have committed, and no group is left with an offset
// behind its end, where other records will stand.
import Linking
import Logging
import Primitives

extension LinkWorker {
    /// How long a mirror that stops waits for groups whose coordinators do not answer.
    private static let patienceMilliseconds: Int64 = 10_000

    /// Brings the offsets of groups to where mirrors end that are about to become writable.
    ///
    /// - Returns: the steps that may be taken now.
    func settleOffsets(_ steps: [MirrorStep], _ survey: MirrorSurvey) async throws -> [MirrorStep] {
        let stopping = Set(steps.filter(\.stops).map(\.mirror.name))
        guard !stopping.isEmpty, (try? LinkSettings(link.configuration))?.syncsOffsets == true else { return steps }
        let name = link.name
        let known = try await links.change { coordinator in (coordinator.transactions[name]?.groupOffsets ?? [:], []) }
        let offsets = known.mapValues { $0.filter { stopping.contains($0.key.topic) } }.filter { !$0.value.isEmpty }
        let ends = MirrorEnds(survey.entries.filter { stopping.contains($0.key.topic) }.mapValues(\.logEndOffset))
        let problem = await put(offsets, ends)
        guard let problem else { return steps }
        let now = SystemClock.now()
        return steps.filter { step in
            guard step.stops, now - step.mirror.since > Self.patienceMilliseconds else { return !step.stops }
            logger.error(
                "a mirror becomes writable, though offsets of groups could not be brought to where it ends: they may repeat work",
                metadata: ["link": "\(name)", "mirror": "\(step.mirror.name)", "reason": "\(problem)"])
            return true
        }
    }

    /// - Returns: what is in the way; nil when all groups have their offsets.
    private func put(_ offsets: GroupOffsets, _ ends: MirrorEnds) async -> String? {
        let body: JSONValue = ["link": .string(link.name), "offsets": offsets.json, "ends": ends.json]
        let answers = await withTaskGroup(of: Result<JSONValue, LinkCallFailure>.self) { group in
            for broker in links.liveBrokers {
                group.addTask {
                    do throws(LinkCallFailure) { return .success(try await links.ask(broker, .putOffsets, body)) } catch {
                        return .failure(error)
                    }
                }
            }
            var answers: [Result<JSONValue, LinkCallFailure>] = []
            for await answer in group { answers.append(answer) }
            return answers
        }
        var missing = Set(offsets.keys)
        for answer in answers {
            switch answer {
            case .failure(let failure): return failure.description
            case .success(let json):
                if let problem = json["problem"]?.stringValue { return problem }
                missing.subtract((json["done"]?.arrayValue ?? []).compactMap(\.stringValue))
            }
        }
        return missing.min().map { "group '\($0)' has no coordinator" }
    }
}

extension MirrorStep {
    /// Whether the mirror becomes writable by it.
    fileprivate var stops: Bool {
        if case .enter(.stopped, _) = outcome { true } else { false }
    }
}
