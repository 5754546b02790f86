"""Checks what a subscriber received."""


def faults(published, received):
    """Compares the acknowledged events (channel → count, numbered from 1) with the items that one subscriber received, over all its connections.

    Returns a list of faults. It is empty if everything arrived once, in order and without a gap.
    """
    found = []
    seen = {channel: [] for channel in published}
    for item in received:
        if item.kind == "gap":
            found.append(f"gap {item.data}")
        elif item.channel not in seen:
            found.append(f"an event of channel {item.channel}, which was not requested")
        else:
            if item.data["channel"] != item.channel:
                found.append(f"{item.data} arrived as an event of channel {item.channel}")
            seen[item.channel].append(item.data["n"])
    for channel, count in published.items():
        numbers = seen[channel]
        expected = list(range(1, count + 1))
        if numbers == expected:
            continue
        lost = sorted(set(expected) - set(numbers))
        repeated = sorted({n for n in numbers if numbers.count(n) > 1}) if len(numbers) != len(set(numbers)) else []
        unknown = sorted(set(numbers) - set(expected))
        if lost:
            found.append(f"{channel}: {len(lost)} of {count} lost: {lost[:10]}")
        if repeated:
            found.append(f"{channel}: repeated: {repeated[:10]}")
        if unknown:
            found.append(f"{channel}: received, but never acknowledged: {unknown[:10]}")
        late = next((pair for pair in zip(numbers, numbers[1:]) if pair[1] <= pair[0]), None)
        if late and not repeated:
            found.append(f"{channel}: event {late[1]} arrived after event {late[0]}")
    return found


def position(text):
    """`<epoch>-<offset>` as a pair that can be compared."""
    epoch, offset = text.split("-")
    assert epoch.isdecimal() and offset.isdecimal(), text
    return int(epoch), int(offset)
