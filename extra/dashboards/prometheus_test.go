package dashboards

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program finds a program of Debian's package prometheus, or skips the test. With PASSBUDDY_PROMETHEUS=require it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("PASSBUDDY_PROMETHEUS") == "require" {
		t.Fatalf("PASSBUDDY_PROMETHEUS=require, but there is no %s: %v", name, err)
	}
	t.Skipf("%s not found: install Debian's package prometheus to run this test", name)
	return ""
}

// A prometheus is a Prometheus on a loopback port, which ends with the test.
type prometheus struct{ url string }

const config = `
global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}
rule_files: [rules.yml]
scrape_configs:
  - job_name: fleet
    static_configs: [{targets: [%s]}]
`

var listening = regexp.MustCompile(`msg="Listening on".* address=(127\.0\.0\.1:\d+)`)

// startPrometheus has a Prometheus scrape targets, by rules.
func startPrometheus(t *testing.T, rules string, targets ...string) *prometheus {
	t.Helper()
	path, dir := program(t, "prometheus"), t.TempDir()
	for file, text := range map[string]string{"rules.yml": rules, "config.yml": fmt.Sprintf(config, strings.Join(targets, ", "))} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(path, "--config.file", filepath.Join(dir, "config.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", "127.0.0.1:0")
	cmd.SysProcAttr = dieWithParent()
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan error, 1), make(chan struct{})
	address := make(chan string, 1)
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the process dies with the thread that has started it
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if at := listening.FindStringSubmatch(lines.Text()); at != nil {
				address <- at[1]
			}
		}
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	select {
	case at := <-address:
		return &prometheus{"http://" + at}
	case <-ended:
		t.Fatal("prometheus has ended")
	case <-time.After(30 * time.Second):
		t.Fatal("prometheus does not listen")
	}
	return nil
}

// get reads the field data of an answer of the API.
func (p *prometheus) get(ctx context.Context, path string, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var said struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	if said.Status != "success" {
		return fmt.Errorf("%s: %s", path, said.Error)
	}
	return json.Unmarshal(said.Data, data)
}

// values are what an expression has now: numbers, without NaN.
func (p *prometheus) values(ctx context.Context, expr string) (values []float64, err error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(ctx, "/api/v1/query?query="+url.QueryEscape(expr), &data); err != nil {
		return nil, err
	}
	for _, one := range data.Result {
		if text, is := one.Value[1].(string); is && text != "NaN" {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
	}
	return values, nil
}

// firing are the names of the alerts that fire.
func (p *prometheus) firing(ctx context.Context) (map[string]bool, error) {
	var data struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	if err := p.get(ctx, "/api/v1/alerts", &data); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			names[a.Labels["alertname"]] = true
		}
	}
	return names, nil
}
