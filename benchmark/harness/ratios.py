"""Figures of several rounds in one: medians, and how far the rounds are from each other."""

import statistics


def median(results, field):
    return statistics.median(result[field] for result in results)


def ratio(ours, theirs, field="per_second"):
    """Ours by theirs, round by round. The median counts; the spread says how much of it is noise."""
    each = [a[field] / b[field] for a, b in zip(ours, theirs) if b[field]]
    middle = statistics.median(each)
    return {
        "median": round(middle, 4), "lowest": round(min(each), 4), "highest": round(max(each), 4),
        "spread": round((max(each) - min(each)) / middle, 3),
    }


def slope(points):
    """The slope of the line through (x, y) points by least squares."""
    mean_x, mean_y = (statistics.fmean(column) for column in zip(*points))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
