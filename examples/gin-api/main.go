// Command gin-api-template is the sample service: a small JSON API on gin, configured by its environment
// and by a .env file in its working directory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/joho/godotenv"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "dev"

const (
	shutdownTimeout = 10 * time.Second
	warmTimeout     = 5 * time.Second
	maxBodyBytes    = 1 << 20
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = serve()
	case len(args) == 1 && args[0] == "warm":
		err = warm()
	default:
		fmt.Fprintln(os.Stderr, "usage: gin-api-template [warm]")
		os.Exit(2)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve answers HTTP until it is told to stop.
func serve() error {
	started := time.Now()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	given := os.Environ() // before .env adds to it
	if err := loadDotenv(".env"); err != nil {
		return err
	}
	gin.SetMode(os.Getenv(gin.EnvGinMode)) // gin itself has read the variable before .env was loaded

	address, err := listenAddress()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	starts, err := countStart(os.Getenv("STATE_DIRECTORY"))
	if err != nil {
		return err
	}

	server := &http.Server{
		Handler:           newRouter(given, started, starts),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       60 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Printf("gin-api %s listening on %s", version, listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once
	log.Print("stopping")
	deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return fmt.Errorf("requests still open after %s: %w", shutdownTimeout, err)
	}
	log.Print("stopped")
	return nil
}

// loadDotenv adds the file's variables to the environment; those already there win. No file is fine, but
// half a configuration is not: a file that cannot be read is an error.
func loadDotenv(path string) error {
	if err := godotenv.Load(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot load %s: %w", path, err)
	}
	return nil
}

// listenAddress joins LISTEN_ADDR (a host or an IP address; empty is every interface) and PORT.
func listenAddress() (string, error) {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("PORT=%q is not a port number", port)
	}
	return net.JoinHostPort(os.Getenv("LISTEN_ADDR"), port), nil
}

// countStart adds one to the file "starts" in the service's state directory and returns the count, or 0
// without a state directory. The file is replaced by a rename, so that a crash never leaves half a number.
func countStart(stateDirectory string) (int, error) {
	if stateDirectory == "" {
		return 0, nil
	}
	directory, _, _ := strings.Cut(stateDirectory, ":") // systemd separates several with colons
	path := filepath.Join(directory, "starts")

	count := 0
	switch text, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		if count, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			log.Printf("%s is not a number, counting from the beginning", path)
			count = 0
		}
	}
	count++

	temporary, err := os.Create(path + ".new")
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintln(temporary, count)
	if err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, err
	}
	return count, os.Rename(temporary.Name(), path)
}

func newRouter(given []string, started time.Time, starts int) http.Handler {
	router := gin.New()
	router.Use(gin.Logger(), gin.Recovery())
	if err := router.SetTrustedProxies(nil); err != nil {
		log.Fatal(err)
	}
	injectFault(router)

	router.GET("/", func(c *gin.Context) {
		c.String(http.StatusOK, os.Getenv("GREETING"))
	})
	router.GET("/health", func(c *gin.Context) {
		c.JSON(http.StatusOK, health{
			Status:        "ok",
			Version:       version,
			PID:           os.Getpid(),
			UptimeSeconds: time.Since(started).Seconds(),
			Starts:        starts,
		})
	})

	items := &store{items: []item{}}
	if name := os.Getenv("FIRST_ITEM"); name != "" {
		items.add(name)
	}
	api := router.Group("/api/v1")
	api.GET("/items", items.list)
	api.POST("/items", items.create)
	api.GET("/items/:id", items.show)

	// Shows every secret the service has, so it is there only for tests that ask for it. The variable must
	// come from the process's environment: a line in .env alone does not open the route.
	for _, entry := range given {
		if entry == "ENV_DUMP=1" {
			router.GET("/env", func(c *gin.Context) { dumpEnvironment(c, given) })
		}
	}
	return router
}

type health struct {
	Status        string  `json:"status"`
	Version       string  `json:"version"`
	PID           int     `json:"pid"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	Starts        int     `json:"starts,omitempty"`
}

type item struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// store keeps items in memory; an item's ID is its position, from 1.
type store struct {
	mutex sync.RWMutex
	items []item
}

func (s *store) add(name string) item {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	added := item{ID: len(s.items) + 1, Name: name}
	s.items = append(s.items, added)
	return added
}

func (s *store) list(c *gin.Context) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	c.JSON(http.StatusOK, s.items)
}

func (s *store) create(c *gin.Context) {
	var body struct {
		Name string `json:"name" binding:"required"`
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxBodyBytes)
	if err := c.ShouldBindJSON(&body); err != nil {
		c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
		return
	}
	c.JSON(http.StatusCreated, s.add(body.Name))
}

func (s *store) show(c *gin.Context) {
	id, err := strconv.Atoi(c.Param("id"))
	if err != nil {
		c.JSON(http.StatusBadRequest, gin.H{"error": "the id must be a number"})
		return
	}
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	if id < 1 || id > len(s.items) {
		c.JSON(http.StatusNotFound, gin.H{"error": "no such item"})
		return
	}
	c.JSON(http.StatusOK, s.items[id-1])
}

// dumpEnvironment answers what the process was given and, apart from it, what its .env file says.
func dumpEnvironment(c *gin.Context, given []string) {
	process := make(map[string]string, len(given))
	for _, entry := range given {
		name, value, _ := strings.Cut(entry, "=")
		process[name] = value
	}
	dotenv, err := godotenv.Read(".env")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.JSON(http.StatusInternalServerError, gin.H{"process": process, "error": err.Error()})
		return
	}
	if dotenv == nil {
		dotenv = map[string]string{}
	}
	c.JSON(http.StatusOK, gin.H{"process": process, "dotenv": dotenv})
}

// warm asks the running service for its health once and prints one line.
func warm() error {
	log.SetFlags(0)
	log.SetPrefix("warm: ")
	if err := loadDotenv(".env"); err != nil {
		return err
	}
	if os.Getenv("PORT") == "" { // called from elsewhere, as by cron: use the settings beside the binary
		executable, err := os.Executable()
		if err != nil {
			return err
		}
		if err := loadDotenv(filepath.Join(filepath.Dir(executable), ".env")); err != nil {
			return err
		}
	}
	address, err := listenAddress()
	if err != nil {
		return err
	}

	// An empty or wildcard host dials the local system; an empty transport never goes through a proxy.
	url := "http://" + address + "/health"
	client := &http.Client{Timeout: warmTimeout, Transport: &http.Transport{}}
	began := time.Now()
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer health
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("GET %s: %s, and not in JSON: %w", url, response.Status, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s, status %q", url, response.Status, answer.Status)
	}
	took := time.Since(began).Round(time.Millisecond)
	fmt.Printf("warm: version %s answered %s in %s\n", answer.Version, response.Status, took)
	return nil
}
