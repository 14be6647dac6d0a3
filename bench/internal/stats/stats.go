// Package stats is the arithmetic of the benchmark: what several rounds say together, how even shares
// are, and how long waits took.
package stats

import (
	"math"
	"slices"
)

// A Summary is what several rounds say of one figure.
type Summary struct {
	Median, Min, Max, Sum float64
	Rounds                int
}

// Summarize returns the summary of values; it is zero if there are none.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	s := Summary{Median: Median(values), Min: slices.Min(values), Max: slices.Max(values), Rounds: len(values)}
	for _, v := range values {
		s.Sum += v
	}
	return s
}

// Median returns the middle value, or the mean of the two in the middle; NaN if there are none.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Percentile returns the smallest value that at least p percent of the values do not exceed (nearest
// rank); NaN if there are none.
func Percentile(values []float64, p float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(n)))
	return sorted[min(max(rank, 1), n)-1]
}

// Jain returns Jain's fairness index of shares: 1 when all are equal, 1/n when one has everything; NaN
// if nobody has anything. (R. Jain, D. Chiu, W. Hawe: A Quantitative Measure of Fairness and
// Discrimination for Resource Allocation in Shared Computer Systems, DEC TR-301, 1984.)
func Jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(shares)) * squares)
}
