import Partitioning

extension RedisScripts {
    /// The source of a script, without what an active ``Defect`` leaves out. In a release build the source itself.
    static func withDefects(_ source: String) -> String {
        var source = source
        func replace(_ text: String, by other: String) { source = source.replacing(text, with: other) }
        if Defect.appendWithoutFence.isActive {
            replace("elseif sealed > oe then", by: "elseif false then")
            replace("elseif sealed < oe or fence[2] ~= ARGV[2 * p + 3] then", by: "elseif false then")
        }
        if Defect.skipSeal.isActive {
            replace("elseif stored > oe then", by: "elseif false then")
            replace("'oe', ARGV[3 * i - 1],", by: "'oe', stored > 0 and stored or oe,")
            replace("elseif sealed < oe or fence[2] ~= ARGV[2 * p + 3] then", by: "elseif false then")
            replace("stored < oe and 2 or 0", by: "0")
            replace("if fence < oe then return {2, ''} end", by: "")
            replace("if stored < oe then return {2, 0} end", by: "")
        }
        if Defect.positionsFromEvictedStore.isActive { replace("if fence[4] == ARGV[1] then", by: "if true then") }
        return source
    }
}
