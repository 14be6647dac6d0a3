package stats

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest wait that Waits tells apart; longer ones count as that.
const longest = 10 * time.Minute

// Waits are how long callers waited, to within a thousandth. Not safe for concurrent use.
type Waits struct{ histogram *hdrhistogram.Histogram }

// NewWaits returns an empty collection.
func NewWaits() *Waits { return &Waits{hdrhistogram.New(1, int64(longest), 3)} }

// Add records one wait.
func (w *Waits) Add(d time.Duration) {
	_ = w.histogram.RecordValue(int64(min(max(d, 1), longest))) // in range: no error
}

// Merge adds all of another collection.
func (w *Waits) Merge(other *Waits) { w.histogram.Merge(other.histogram) }

// Count returns how many there are.
func (w *Waits) Count() int64 { return w.histogram.TotalCount() }

// Percentile returns what p percent of the waits did not exceed.
func (w *Waits) Percentile(p float64) time.Duration {
	return time.Duration(w.histogram.ValueAtPercentile(p))
}

// Max returns the longest.
func (w *Waits) Max() time.Duration { return time.Duration(w.histogram.Max()) }

// Encode returns the collection in the compact form of HdrHistogram.
func (w *Waits) Encode() ([]byte, error) { return w.histogram.EncodeV2() }

// DecodeWaits is the reverse of Encode.
func DecodeWaits(b []byte) (*Waits, error) {
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("histogram: %w", err)
	}
	return &Waits{h}, nil
}
