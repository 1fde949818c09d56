// Subscriptions by regular expression: which topics an expression means is looked up now and then, for all expressions of a group at
// once, so that new topics cause one rebalance and not one for each.
import KafkaRecords
import KafkaWire
import Primitives

/// What became of a member's expression in a heartbeat.
enum ExpressionChange {
    case unchanged
    /// Another expression, whose topics are not known yet.
    case changed
    /// The topics that the member's or another expression means have changed: a new epoch is due.
    case resolved
}

extension ConsumerGroup {
    /// At least this long between two looks for the topics of a group's expressions. Kafka's number.
    private static let minimumRefreshIntervalMilliseconds: Int64 = 10_000

    /// - Parameter subscriptions: with the member's change in it; the expressions' new topics are put into it.
    mutating func updateExpressions(
        from old: ConsumerGroupMember, to new: ConsumerGroupMember, subscriptions: inout ConsumerGroupSubscriptions,
        context: GroupRequestContext, knowledge: TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> ExpressionChange {
        var change = ExpressionChange.unchanged
        var mustResolve = false
        if old.expression != new.expression {
            change = .changed
            if let expression = old.expression, subscriptions.subscriberCount(of: expression) == 0 {
                step.records.append(.consumerGroup(.regularExpression(group: groupID, expression: expression, nil)))
                subscriptions.resolve(expression, to: nil)
            }
            if let expression = new.expression {
                if self.subscriptions.subscriberCount(of: expression) == 0 {
                    try Self.check(expression)
                    mustResolve = true
                } else if self.subscriptions.resolved[expression] != nil {
                    change = .resolved
                }
            } else {
                change = .resolved
            }
        }
        guard !subscriptions.expressions.isEmpty else { return change }
        let lastRefresh = self.subscriptions.resolved.values.first?.timestamp
        if let lastRefresh, step.now.timestamp <= lastRefresh &+ Self.minimumRefreshIntervalMilliseconds { return change }
        mustResolve = mustResolve || hasNewTopics || subscriptions.expressions.count != self.subscriptions.resolved.count
        if let lastRefresh, step.now.timestamp > lastRefresh &+ step.configuration.consumer.expressionRefreshIntervalMilliseconds {
            mustResolve = true
        }
        guard mustResolve else { return change }
        hasNewTopics = false
        return resolveExpressions(&subscriptions, context: context, knowledge: knowledge, step: &step) ? .resolved : change
    }

    /// Looks up the topics of all expressions; true when one of them means other topics than before.
    private func resolveExpressions(
        _ subscriptions: inout ConsumerGroupSubscriptions, context: GroupRequestContext, knowledge: TopicKnowledge, step: inout GroupStep
    ) -> Bool {
        var matchers: [(expression: String, matcher: TopicExpression)] = []
        for expression in subscriptions.expressions.keys {
            // One that Kafka took and this broker does not means no topic.
            guard let matcher = try? TopicExpression(expression) else { continue }
            matchers.append((expression, matcher))
        }
        var topics = [[String]](repeating: [], count: matchers.count)
        knowledge.topics.forEachName { name in
            var isVisible: Bool?
            for index in matchers.indices where matchers[index].matcher.matches(name) {
                let visible = isVisible ?? context.isTopicVisible(name)
                isVisible = visible
                if visible { topics[index].append(name) }
            }
        }
        var hasChanged = false
        for (index, (expression, _)) in matchers.enumerated() {
            let resolution = ResolvedExpression(
                topics: topics[index].sorted(), version: knowledge.topics.version, timestamp: step.now.timestamp)
            if subscriptions.resolved[expression]?.topics ?? [] != resolution.topics { hasChanged = true }
            subscriptions.resolve(expression, to: resolution)
            var value = ConsumerGroupRegularExpressionValue()
            value.topics = resolution.topics
            value.version = resolution.version
            value.timestamp = resolution.timestamp
            step.records.append(.consumerGroup(.regularExpression(group: groupID, expression: expression, value)))
        }
        return hasChanged
    }

    private static func check(_ expression: String) throws(GroupRefusal) {
        do {
            _ = try TopicExpression(expression)
        } catch {
            throw GroupRefusal(
                .invalidRegularExpression,
                "SubscribedTopicRegex `\(expression)` is not a valid regular expression: \(error.reason).")
        }
    }
}
