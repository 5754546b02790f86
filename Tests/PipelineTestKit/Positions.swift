package import Pipeline

/// Traps for a name that is not valid.
package func channel(_ name: String) -> ChannelName { ChannelName(name)! }

package func position(_ epoch: UInt64, _ offset: UInt64) -> Position { Position(epoch: epoch, offset: offset) }
