/* The device's end of the serial protocol, without libc's printing. Inputs are converted when they are first
 * used, outside of what is timed; the time of a window's start is printed after the window, so that sending it
 * is not measured either. */
#include "protocol.h"

#include <stdbool.h>
#include <string.h>

#include "port.h"

#ifndef GNOMON_ENERGY
#define GNOMON_ENERGY 0
#endif
#ifndef GNOMON_VENDOR
#define GNOMON_VENDOR "unspecified"
#endif
#ifndef GNOMON_BAUD
#define GNOMON_BAUD (GNOMON_ENERGY ? 9600u : 115200u)
#endif
#define VERSION "ULPMark for tinyML Firmware V0.0.1" /* hosts look for this very text */
#define COMMAND_SIZE 80
#define DEFAULT_WARMUPS 10
#define PULSE_US 1000u /* slow monitors sample the pin once in a millisecond */

static const gnomon_model *model;
static char command[COMMAND_SIZE + 1];
static size_t command_size;
static bool too_long;
static int32_t expected, received; /* bytes of the payload */
static bool converted;             /* the payload has become the input tensor, in the same memory */

/* ---- printing ---- */

static void print(const char *text) { port_write(text, strlen(text)); }

static void print_unsigned(uint64_t value, int least_digits) {
  char digits[20];
  int at = (int)sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
    least_digits--;
  } while (value || least_digits > 0);
  port_write(digits + at, sizeof digits - (size_t)at);
}

static void print_hex(uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  char text[2] = {digits[byte >> 4], digits[byte & 15]};
  port_write(text, 2);
}

/* Three decimals, ties to even, as printf rounds. From 10^15 on it stays there. */
static void print_decimal(double value) {
  if (value != value) {
    print("nan");
    return;
  }
  if (value < 0) print("-");
  double thousandths = (value < 0 ? -value : value) * 1000;
  if (thousandths > 1e18) thousandths = 1e18;
  uint64_t whole = (uint64_t)thousandths;
  double rest = thousandths - (double)whole;
  if (rest > 0.5 || (rest == 0.5 && whole % 2)) whole++;
  print_unsigned(whole / 1000, 1);
  print(".");
  print_unsigned(whole % 1000, 3);
}

static void print_with(const char *before, uint64_t value, const char *after) {
  print(before);
  print_unsigned(value, 1);
  print(after);
}

/* ---- words of a command ---- */

/* The next word, cut out of the text in place; null if there is none. */
static char *next_word(char **rest) {
  char *word = *rest;
  while (*word == ' ') word++;
  if (!*word) return NULL;
  char *end = word;
  while (*end && *end != ' ') end++;
  *rest = *end ? end + 1 : end;
  *end = 0;
  return word;
}

/* As atoi reads it: a sign, digits, and whatever follows; held within int32. */
static int32_t number(const char *word) {
  bool negative = *word == '-';
  if (*word == '-' || *word == '+') word++;
  int64_t value = 0;
  for (; *word >= '0' && *word <= '9'; word++)
    if (value <= INT32_MAX) value = value * 10 + (*word - '0');
  if (value > INT32_MAX) value = INT32_MAX;
  return (int32_t)(negative ? -value : value);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- input and output of the model ---- */

/* A byte of the wire is the input's plus 128: the same change leads there and back. */
static void convert_in_place(bool to_input) {
  if (model->wire != GNOMON_UINT8 || converted == to_input) return;
  for (int32_t i = 0; i < model->payload_size; i++) model->payload[i] ^= 0x80;
  converted = to_input;
}

static float payload_float(int32_t index) {
  float value;
  memcpy(&value, model->payload + 4 * index, sizeof value);
  return value;
}

static int8_t quantized(float value) {
  float steps = value / model->input_scale;
  if (!(steps > -1000)) steps = -1000; /* also what is not a number */
  if (steps > 1000) steps = 1000;
  int32_t whole = (int32_t)(steps < 0 ? steps - 0.5f : steps + 0.5f);
  whole += model->input_zero_point;
  return (int8_t)(whole < INT8_MIN ? INT8_MIN : whole > INT8_MAX ? INT8_MAX : whole);
}

static void load_input(void) {
  if (received < model->payload_size) {
    print_with("e-[Input has ", (uint64_t)received, " bytes, expected ");
    print_with("", (uint64_t)model->payload_size, "]\r\n");
  }
  convert_in_place(true);
  if (model->wire == GNOMON_FLOAT)
    for (int32_t i = 0; i < model->input_size; i++) model->input[i] = quantized(payload_float(i));
}

static double real_output(int32_t index) {
  return (float)(model->output[index] - model->output_zero_point) * model->output_scale;
}

static void print_results(void) {
  print("m-results-[");
  if (model->wire == GNOMON_FLOAT) {
    double sum = 0;
    for (int32_t i = 0; i < model->output_size; i++) {
      double difference = real_output(i) - payload_float(i);
      sum += difference * difference;
    }
    print_decimal(sum / model->output_size);
  } else {
    for (int32_t i = 0; i < model->output_size; i++) {
      if (i) print(",");
      print_decimal(real_output(i));
    }
  }
  print("]\r\n");
}

/* ---- commands ---- */

#if GNOMON_ENERGY
static void timestamp(void) {
  port_energy_pin(0);
  uint32_t start_us = port_timestamp_us();
  while (port_timestamp_us() - start_us < PULSE_US) {
  }
  port_energy_pin(1);
}
#else
static void print_lap(uint32_t time_us) { print_with("m-lap-us-", time_us, "\r\n"); }

static void timestamp(void) { print_lap(port_timestamp_us()); }
#endif

/* Inferences between two timestamps. */
static void timed_window(int32_t iterations) {
#if GNOMON_ENERGY
  timestamp();
  while (iterations-- > 0) gnomon_run(model);
  timestamp();
#else
  uint32_t start_us = port_timestamp_us();
  while (iterations-- > 0) gnomon_run(model);
  uint32_t end_us = port_timestamp_us();
  print_lap(start_us);
  print_lap(end_us);
#endif
}

static void infer(char *rest) {
  int32_t iterations = 1, warmups = DEFAULT_WARMUPS;
  char *word = next_word(&rest);
  if (word) {
    iterations = number(word);
    if (iterations <= 0) {
      print("e-[Inference iterations must be >0]\r\n");
      return;
    }
    word = next_word(&rest);
    if (word) warmups = number(word);
    if (warmups < 0) {
      print("e-[Inference warmup must be >=0]\r\n");
      return;
    }
  }
  load_input();
  print_with("m-warmup-start-", (uint64_t)warmups, "\r\n");
  while (warmups-- > 0) gnomon_run(model);
  print("m-warmup-done\r\n");
  print_with("m-infer-start-", (uint64_t)iterations, "\r\n");
  timed_window(iterations);
  print("m-infer-done\r\n");
  print_results();
}

/* One inference, and what each layer took of the finest counter. */
static void layers(void) {
  load_input();
  print_with("m-layer-ticks-per-us-[", port_ticks_per_us, "]\r\n");
  for (int32_t i = 0; i < model->layer_count; i++) {
    const gnomon_layer *layer = &model->layers[i];
    uint32_t start = port_ticks();
    layer->run();
    uint32_t ticks = port_ticks() - start;
    print_with("m-layer-[", (uint64_t)layer->index, ",");
    print(layer->name);
    print_with(",", ticks, "]\r\n");
  }
}

static void buffer_load(char *rest) {
  char *word = next_word(&rest);
  if (!word) {
    print("e-[Command 'db load' requires the # of bytes]\r\n");
    return;
  }
  int32_t size = number(word);
  expected = received = 0;
  if (size <= 0) {
    print("e-[Command 'db load' must be >0 bytes]\r\n");
  } else if (size > model->payload_size) {
    print_with("Supplied buffer size ", (uint64_t)size, " exceeds maximum of ");
    print_with("", (uint64_t)model->payload_size, "\r\n");
  } else {
    expected = size;
    print_with("m-[Expecting ", (uint64_t)size, " bytes]\r\n");
  }
}

static void buffer_print(void) {
  convert_in_place(false);
  for (int32_t i = 0; i < expected; i++) {
    if (i % 8 == 0) print("m-buffer-");
    print_hex(model->payload[i]);
    print(i % 8 == 7 || i + 1 == expected ? "\r\n" : "-");
  }
}

static void buffer_bytes(const char *digits) {
  if (strlen(digits) % 2) {
    print("e-[Insufficent number of hex digits]\r\n"); /* spelt as hosts know it */
    return;
  }
  if (received >= expected) {
    print("e-[Command 'db' has no bytes to expect: send 'db load' first]\r\n");
    return;
  }
  convert_in_place(false);
  for (; *digits; digits += 2) {
    int high = hex_digit(digits[0]), low = hex_digit(digits[1]);
    if (high < 0 || low < 0) {
      print("e-[Invalid hex digit '");
      port_write(digits, 2);
      print("']\r\n");
      return;
    }
    model->payload[received++] = (uint8_t)(high << 4 | low);
    if (received == expected) {
      print("m-load-done\r\n");
      return; /* digits beyond the last byte are left alone */
    }
  }
}

static void buffer(char *rest) {
  char *word = next_word(&rest);
  if (!word)
    print("e-[Command 'db' requires a subcommand]\r\n");
  else if (!strcmp(word, "load"))
    buffer_load(rest);
  else if (!strcmp(word, "print"))
    buffer_print();
  else
    buffer_bytes(word);
}

static void help(void) {
  print(VERSION
        "\r\n\r\n"
        "help         : this text\r\n"
        "name         : the device's name\r\n"
        "profile      : the firmware's version and its model\r\n"
        "timestamp    : the time, or a pulse\r\n"
        "db load N    : expect N bytes of input\r\n"
        "db HH[HH]*   : bytes of the input in hexadecimal\r\n"
        "db print     : the input\r\n"
        "infer N [W]  : N inferences after W others (1 after 10)\r\n"
        "results      : the last inference's results\r\n"
        "layers       : one inference, and the time of each layer\r\n");
}

static void carry_out(char *text) {
  char *rest = text, *word = next_word(&rest);
  if (!word) word = "";
  if (!strcmp(word, "name")) {
    print("m-name-dut-[" GNOMON_VENDOR "]\r\n");
  } else if (!strcmp(word, "timestamp")) {
    timestamp();
  } else if (!strcmp(word, "profile")) {
    print("m-profile-[" VERSION "]\r\nm-model-[");
    print(model->id);
    print("]\r\n");
  } else if (!strcmp(word, "help")) {
    help();
  } else if (!strcmp(word, "db")) {
    buffer(rest);
  } else if (!strcmp(word, "infer")) {
    infer(rest);
  } else if (!strcmp(word, "results")) {
    print_results();
  } else if (!strcmp(word, "layers")) {
    layers();
  } else {
    print("e-[Unknown command: ");
    print(word);
    print("]\r\n");
  }
}

void gnomon_start(const gnomon_model *served) {
  model = served;
  command_size = 0;
  expected = received = 0;
  too_long = converted = false;
  print(GNOMON_ENERGY ? "m-timestamp-mode-energy\r\n" : "m-timestamp-mode-performance\r\n");
  timestamp(); /* a pin is at rest from here on */
  print("m-init-done\r\nm-ready\r\n");
}

void gnomon_receive(char c) {
  if (c != '%') {
    if (c == '\r' || c == '\n') return; /* what a terminal sends after a line */
    if (command_size < COMMAND_SIZE)
      command[command_size++] = c;
    else
      too_long = true;
    return;
  }
  command[command_size] = 0;
  if (too_long)
    print("e-[Command is longer than 80 characters]\r\n");
  else
    carry_out(command);
  command_size = 0;
  too_long = false;
  print("m-ready\r\n");
}

void gnomon_serve(const gnomon_model *served) {
  port_init(GNOMON_BAUD);
  gnomon_start(served);
  for (;;) gnomon_receive(port_getchar());
}
