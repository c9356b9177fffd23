// Local KMS, which by itself listens on every interface, on the loopback interface alone.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/nsmithuk/local-kms/src"
	"github.com/nsmithuk/local-kms/src/config"
	"github.com/nsmithuk/local-kms/src/data"
)

// Usage: kms PORT FOLDER
func main() {
	config.AWSAccountId, config.AWSRegion = "111122223333", "us-east-1"
	config.DatabasePath = os.Args[2]
	database := data.NewDatabase(config.DatabasePath)
	defer database.Close()
	http.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) { src.HandleRequest(w, r, database) })
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
