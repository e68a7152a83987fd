/* Port to a process: the line is standard input and output, the pin is printed as {0} and {1}. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "port.h"
#include "protocol.h"

extern const gnomon_model gnomon_the_model;

const uint32_t port_ticks_per_us = 1;

void port_init(uint32_t baud) { (void)baud; }

char port_getchar(void) {
  char c;
  if (read(0, &c, 1) != 1) exit(0);
  return c;
}

void port_write(const char *text, size_t size) {
  while (size) {
    ssize_t sent = write(1, text, size);
    if (sent <= 0) exit(1);
    text += sent;
    size -= (size_t)sent;
  }
}

uint32_t port_timestamp_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

uint32_t port_ticks(void) { return port_timestamp_us(); }

void port_energy_pin(int level) { port_write(level ? "{1}" : "{0}", 3); }

int main(void) { gnomon_serve(&gnomon_the_model); }
