/* Fuzzes the protocol in this process, guided by coverage (gcc's trace-pc): random changes to streams of characters;
 * those that reach something new are kept and changed further.
 *
 *     fuzz SECONDS SEED CRASH_FILE
 *
 * A wrong access or undefined operation ends it by the sanitizers, a broken promise by abort; either way the stream
 * is left in CRASH_FILE. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "port.h"
#include "protocol.h"

#define LONGEST 1024
#define MOST_KEPT 4096
#define EDGES 65536
#define LAYER_BUDGET 2000

typedef struct {
  size_t size;
  unsigned char bytes[LONGEST];
} stream;

static stream *kept[MOST_KEPT];
static size_t kept_count;
static const stream *running;
static const char *crash_file;
static unsigned char seen[EDGES], edges[EDGES];
static uint64_t state;
static jmp_buf out_of_budget;
static int budget;
static long ready_count;
static size_t ready_matched;
static uint32_t now_us;

void __sanitizer_set_death_callback(void (*callback)(void));

/* Called at each basic block of the protocol: the way from the last one to this one is what counts as seen. */
void __sanitizer_cov_trace_pc(void) {
  static uintptr_t last;
  uintptr_t here = (uintptr_t)__builtin_return_address(0);
  edges[(here ^ last) % EDGES] = 1;
  last = here >> 1;
}

/* ---- a board ---- */

const uint32_t port_ticks_per_us = 1;
void port_init(uint32_t baud) { (void)baud; }
char port_getchar(void) { return 0; }
uint32_t port_timestamp_us(void) { return now_us += 300; }
uint32_t port_ticks(void) { return now_us += 1; }
void port_energy_pin(int level) { (void)level; }

void port_write(const char *text, size_t size) {
  static const char ready[] = "m-ready\r\n";
  for (size_t i = 0; i < size; i++) {
    ready_matched = text[i] == ready[ready_matched] ? ready_matched + 1 : text[i] == ready[0];
    if (ready_matched == sizeof ready - 1) {
      ready_count++;
      ready_matched = 0;
    }
  }
}

static int8_t input[7], output[7];
static uint8_t payload[7 * 4];

static void layer(void) {
  if (--budget < 0) longjmp(out_of_budget, 1);
  memcpy(output, input, sizeof output);
}

static const gnomon_layer layers[] = {{0, "copy", layer}};
#define MODEL(wire, memory) \
  {"fuzz", layers, 1, wire, (uint8_t *)memory, sizeof memory, input, 7, 0.03f, -5, output, 7, 0.5f, 3}
static const gnomon_model models[] = {
    MODEL(GNOMON_INT8, input), MODEL(GNOMON_UINT8, input), MODEL(GNOMON_FLOAT, payload)};

/* ---- streams ---- */

static uint32_t draw(uint32_t below) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

static void insert(stream *s, size_t at, const void *bytes, size_t size) {
  if (s->size + size > LONGEST) return;
  memmove(s->bytes + at + size, s->bytes + at, s->size - at);
  memcpy(s->bytes + at, bytes, size);
  s->size += size;
}

static void change(stream *s) {
  static const char *const words[] = {
      "name%",    "profile%",      "timestamp%",  "help%",   "db load 7%", "db load 28%", "db load ", "db print%",
      "db ",      "infer 1 0%",    "infer ",      "results%", "layers%",   "db 00112233445566%", "db 0%", "db zz%",
      "infer -1%", "infer 2 -1%",  "4294967296 ", "%",       " ",          "0000c07f",    "0000807f",  "db%"};
  size_t at = draw((uint32_t)s->size + 1);
  switch (draw(6)) {
    case 0:
      if (at < s->size) s->bytes[at] ^= (unsigned char)(1u << draw(8));
      break;
    case 1: {
      unsigned char byte = (unsigned char)draw(256);
      insert(s, at, &byte, 1);
      break;
    }
    case 2: {
      size_t size = draw(16);
      if (at + size > s->size) size = s->size - at;
      memmove(s->bytes + at, s->bytes + at + size, s->size - at - size);
      s->size -= size;
      break;
    }
    case 3: {
      unsigned char copy[64];
      size_t size = draw(sizeof copy);
      if (at + size > s->size) size = s->size - at;
      memcpy(copy, s->bytes + at, size);
      insert(s, draw((uint32_t)s->size + 1), copy, size);
      break;
    }
    case 4: {
      const stream *other = kept[draw((uint32_t)kept_count)];
      if (other->size) {
        size_t from = draw((uint32_t)other->size);
        insert(s, at, other->bytes + from, other->size - from);
      }
      break;
    }
    default: {
      const char *word = words[draw(sizeof words / sizeof *words)];
      insert(s, at, word, strlen(word));
    }
  }
}

static void leave_crash(void) {
  FILE *file = fopen(crash_file, "wb");
  if (file == NULL) return;
  fwrite(running->bytes, 1, running->size, file);
  fclose(file);
}

static void promise(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "broken promise: %s\n", what);
  leave_crash();
  abort();
}

/* Returns whether it reached something new. */
static bool run(const stream *s) {
  volatile long expected = 1;
  running = s;
  memset(edges, 0, sizeof edges);
  ready_count = 0;
  ready_matched = 0;
  budget = LAYER_BUDGET;
  if (setjmp(out_of_budget) == 0) {
    gnomon_start(&models[s->size ? s->bytes[0] % 3 : 0]);
    for (size_t i = 0; i < s->size; i++) {
      gnomon_receive((char)s->bytes[i]);
      if (s->bytes[i] == '%') expected++;
      promise(ready_count == expected, "each command is answered by one m-ready");
    }
  }
  bool new_edges = false;
  for (size_t i = 0; i < EDGES; i++)
    if (edges[i] && !seen[i]) seen[i] = new_edges = true;
  return new_edges;
}

static void keep(const stream *s) {
  if (kept_count == MOST_KEPT) return;
  kept[kept_count] = malloc(sizeof *s);
  *kept[kept_count++] = *s;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  double seconds = atof(arguments[1]);
  state = strtoull(arguments[2], NULL, 10);
  crash_file = arguments[3];
  __sanitizer_set_death_callback(leave_crash);
  static stream tried;
  keep(&tried);
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  long executions = 0;
  do {
    for (int i = 0; i < 500; i++, executions++) {
      tried = *kept[draw((uint32_t)kept_count)];
      for (uint32_t changes = 1 + draw(6); changes; changes--) change(&tried);
      if (run(&tried)) keep(&tried);
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec) < seconds);
  size_t reached = 0;
  for (size_t i = 0; i < EDGES; i++) reached += seen[i];
  printf("%ld streams, %zu ways through the code, %zu streams kept\n", executions, reached, kept_count);
  return 0;
}
