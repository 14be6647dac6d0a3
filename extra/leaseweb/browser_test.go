package leaseweb

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A browser is a tab of a real Chromium. It notes what a page must not do: errors on its console, violations of its
// policy, and requests to other hosts.
type browser struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	failures []string
	errorsOK bool // the test stops the server
}

// chromium starts one. A machine without it skips the test, or fails it with PASSBUDDY_CHROMIUM=require.
func chromium(t testing.TB, host string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("PASSBUDDY_CHROMIUM") == "require" {
			t.Fatal("PASSBUDDY_CHROMIUM=require, but there is no chromium")
		}
		t.Skip("chromium not found: install it to run this test")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WSURLReadTimeout(time.Minute))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	browserContext, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t}
	if err := chromedp.Listen(browserContext, func(event any) { b.note(event, host) }); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	b.ctx, cancel = context.WithTimeout(browserContext, 3*time.Minute)
	t.Cleanup(cancel)
	command(b, network.Enable, network.EnableParams{})
	command(b, log.Enable, cdp.Empty{})
	command(b, runtime.Enable, cdp.Empty{})
	t.Cleanup(b.check)
	return b
}

// command sends one of the browser's own protocol.
func command[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, c, params); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) note(event any, host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.failures = append(b.failures, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.failures = append(b.failures, "console: "+e.Args[0].Value.String())
		}
	case *log.EventEntryAdded:
		if !b.errorsOK && (e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning) {
			b.failures = append(b.failures, "log: "+e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != host && u.Scheme != "data" && u.Scheme != "about" {
			b.failures = append(b.failures, "a request leaves the host: "+e.Request.URL)
		}
	}
}

// check fails the test where the pages did what they must not.
func (b *browser) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.failures {
		b.t.Error(f)
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#live")))
}

// eval evaluates JavaScript from outside the page: its policy does not apply.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// text is what an element shows; empty where there is none.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, `(document.querySelector(`+strconv.Quote(selector)+`)||{}).innerText||""`)
}

// look sets the size of the window, and whether the user wants it dark.
func (b *browser) look(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// picture writes what the window shows, where PASSBUDDY_ARTIFACTS names a directory.
func (b *browser) picture(name string) {
	b.t.Helper()
	if dir := os.Getenv("PASSBUDDY_ARTIFACTS"); dir != "" {
		b.pictureTo(filepath.Join(dir, name+".png"))
	}
}

func (b *browser) pictureTo(file string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
