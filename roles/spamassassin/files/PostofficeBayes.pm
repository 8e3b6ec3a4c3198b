# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes SpamAssassin's statistics careful: a word that was seen once proves little.
#
# Its own numbers are for hundreds of thousands of messages. A site has learned a few hundred from its users; most words in them
# were seen once, and each of these would count 98 or 2 percent. In Robinson's f(w) = (s x + n p) / (s + n), for a word that was
# seen n times, a share p of them in spam, s says how often a word must be seen to count as much as knowing nothing about it.
package Mail::SpamAssassin::Plugin::PostofficeBayes;

use strict;
use warnings;
use Mail::SpamAssassin::Plugin;
use Mail::SpamAssassin::Bayes::CombineChi;

our @ISA = ('Mail::SpamAssassin::Plugin');

use constant STRENGTH => 3; # s; SpamAssassin's own is 0.03
use constant LEAST_DISTANCE => 0.3; # from 0.5, for a word to count; SpamAssassin's own is 0.346

sub new {
  my ($class, $main) = @_;
  my $self = $class->SUPER::new($main);
  no warnings 'once';
  $Mail::SpamAssassin::Bayes::Combine::FW_S_CONSTANT = STRENGTH;
  $Mail::SpamAssassin::Bayes::Combine::FW_S_DOT_X = STRENGTH * $Mail::SpamAssassin::Bayes::Combine::FW_X_CONSTANT;
  $Mail::SpamAssassin::Bayes::Combine::MIN_PROB_STRENGTH = LEAST_DISTANCE;
  return $self;
}

1;
