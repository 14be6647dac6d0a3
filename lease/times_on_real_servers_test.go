package lease_test

import "testing"

// These tests judge times of some milliseconds: busy processors would look like a fault. They wait most of the time
// themselves, so they run beside each other, and beside nothing else.
func TestTimesOnRealServers(t *testing.T) {
	alone(t)
	for name, test := range map[string]func(*testing.T){
		"Promise2 told in time":                                testToldInTime,
		"Promise3 no false loss":                               testNoFalseLoss,
		"a Cluster's stalled node leaves the leases of others": testOneStalledNode,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}
