package report

import "github.com/eqworks/passbuddy/bench/internal/workload"

func drawAll(dir string, r *Run, workloads []workload.Workload) (map[string][]string, error) {
	return nil, nil
}
