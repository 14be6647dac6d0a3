package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// visit is the demonstration: eight requests of one tenant at a time and one of another, and what the metrics say then.
func visit(ctx context.Context, base string, out io.Writer) error {
	answers := map[string]map[int]int{"acme": {}, "initech": {}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for tenant, n := range map[string]int{"acme": 8, "initech": 1} {
		for range n {
			all.Go(func() {
				status := 0
				if resp, err := get(ctx, base+"/v1/report", tenant); err == nil {
					status = resp.StatusCode
					_ = resp.Body.Close()
				}
				mu.Lock()
				answers[tenant][status]++
				mu.Unlock()
			})
		}
	}
	all.Wait()
	fmt.Fprintf(out, "A tenant may have %d reports at a time; a request waits for %v.\n", perTenant, maxWait)
	fmt.Fprintf(out, "acme asked for 8 at once:    %d times 200, %d times 429\n", answers["acme"][200], answers["acme"][429])
	fmt.Fprintf(out, "initech asked for 1:         %d times 200\n", answers["initech"][200])
	resp, err := get(ctx, base+"/metrics", "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Fprintln(out, "\nOn /metrics:")
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "passbuddy_acquire_duration_seconds_count") || strings.HasPrefix(line, "passbuddy_permit_usage") {
			fmt.Fprintln(out, line)
		}
	}
	return nil
}

func get(ctx context.Context, url, tenant string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Tenant", tenant)
	return http.DefaultClient.Do(r)
}
