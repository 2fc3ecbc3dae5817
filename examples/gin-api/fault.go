package main

import (
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// fault makes a binary that misbehaves in one known way, for drills: rehearsing on real hosts that a bad
// release is noticed and the good one comes back. It is set by the build alone (build --fault NAME, which is
// -ldflags "-X main.fault=NAME"), never by the environment, so no setting can make a good binary a bad one.
var fault string

func injectFault(router *gin.Engine) {
	switch fault {
	case "":
	case "never-healthy": // listens, and is starting for ever
		router.Use(func(c *gin.Context) {
			if c.Request.URL.Path == "/health" {
				c.AbortWithStatusJSON(http.StatusServiceUnavailable, gin.H{"status": "starting"})
			}
		})
	case "flapping": // is well for three answers in ten, and never for two in a row
		var asked atomic.Uint64
		router.Use(func(c *gin.Context) {
			if c.Request.URL.Path != "/health" {
				return
			}
			switch asked.Add(1) % 10 {
			case 1, 4, 7:
			default:
				c.AbortWithStatusJSON(http.StatusServiceUnavailable, gin.H{"status": "flapping"})
			}
		})
	case "crash-after-2s": // passes its first health checks, then dies
		time.AfterFunc(2*time.Second, func() {
			log.Print("fault crash-after-2s: exiting with status 3")
			os.Exit(3)
		})
	default:
		log.Fatalf("unknown fault %q", fault)
	}
}
