/* What a board has to provide; nothing else of the firmware knows the hardware. See port_example.c. */
#ifndef GNOMON_PORT_H
#define GNOMON_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Clocks, the serial line (8 data bits, no parity, 1 stop bit, `baud`), a timer, the pin. Called once. */
void port_init(uint32_t baud);

/* Wait for a character from the host; a processor may sleep meanwhile. Since the host waits for `m-ready`, none
 * comes while the firmware computes: a receive register is enough, a queue is not needed. */
char port_getchar(void);

/* Send; may return before all has left. */
void port_write(const char *text, size_t size);

/* Microseconds since some fixed time; wraps to 0 after 2^32 - 1. */
uint32_t port_timestamp_us(void);

/* A counter for layers, as fine as there is (processor cycles, best); wraps to 0 after 2^32 - 1. */
uint32_t port_ticks(void);
extern const uint32_t port_ticks_per_us;

/* The pin that an energy monitor watches: 1 at rest; a falling edge is a timestamp. */
void port_energy_pin(int level);

#endif
