# Copyright (c) The Post Office authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes SpamAssassin's statistics careful: a word that was seen once proves little.
#
# Its own numbers are for hundreds of thousands of messages. A site has learned a few hundred from its users; most words in them
# were seen once, and each of these would count 98 or 2 percent. In Robinson's f(w) = (s x + n p) / (s + n), for a word that was
# seen n times, a share p of them in spam, s says how often a word must be seen to count as much as knowing nothing about it.
#
# With `postoffice_bayes_per_mailbox 1` each mailbox has a collection of its own beside the site's. Whoever hands a message over
# says in the field X-Postoffice-Mailbox whose it is. A message is learned where it belongs; it is judged by the mailbox's own
# collection as soon as that has learned enough (bayes_min_spam_num, bayes_min_ham_num), until then by the site's.
package Mail::SpamAssassin::Plugin::PostofficeBayes;

use strict;
use warnings;
use File::Basename qw(dirname);
use Mail::SpamAssassin::Bayes;
use Mail::SpamAssassin::Bayes::CombineChi;
use Mail::SpamAssassin::Conf;
use Mail::SpamAssassin::Plugin;

our @ISA = ('Mail::SpamAssassin::Plugin');

use constant STRENGTH => 3; # s; SpamAssassin's own is 0.03
use constant LEAST_DISTANCE => 0.3; # from 0.5, for a word to count; SpamAssassin's own is 0.346
use constant FIELD => 'X-Postoffice-Mailbox';

sub new {
  my ($class, $main) = @_;
  my $self = $class->SUPER::new($main);
  no warnings 'once';
  $Mail::SpamAssassin::Bayes::Combine::FW_S_CONSTANT = STRENGTH;
  $Mail::SpamAssassin::Bayes::Combine::FW_S_DOT_X = STRENGTH * $Mail::SpamAssassin::Bayes::Combine::FW_X_CONSTANT;
  $Mail::SpamAssassin::Bayes::Combine::MIN_PROB_STRENGTH = LEAST_DISTANCE;
  $main->{conf}->{parser}->register_commands([{
    setting => 'postoffice_bayes_per_mailbox',
    is_admin => 1,
    default => 0,
    type => $Mail::SpamAssassin::Conf::CONF_TYPE_BOOL,
  }]);
  # The collection is chosen before SpamAssassin's own plugin looks into one.
  $self->register_method_priority($_, -10) for qw(check_start learn_message forget_message);
  return $self;
}

# A message is judged, and perhaps learned from at once: by its mailbox's collection, where that knows enough.
sub check_start {
  my ($self, $told) = @_;
  my $message = $told->{permsgstatus}->{msg};
  return unless $self->choose($message);
  $self->{judged} = $message + 0;
  $self->use_collection($self->{site}) unless $self->{main}->{bayes_scanner}->is_scan_available();
  my $conf = $self->{main}->{conf};
  my $bayes = $self->{main}->{bayes_scanner}->is_scan_available() && $conf->{use_bayes_rules};
  $conf->set_score_set(($conf->get_score_set() & ~2) | ($bayes ? 2 : 0));
}

# What is learned from a message that is just being judged stays with what judged it.
sub learn_message {
  my ($self, $told) = @_;
  $self->choose($told->{msg}) unless ($self->{judged} // 0) == $told->{msg} + 0;
  return;
}

sub forget_message {
  my ($self, $told) = @_;
  return $self->learn_message($told);
}

sub per_msg_finish {
  my ($self) = @_;
  delete $self->{judged};
}

# Takes the collection that a message belongs to; whether that is a mailbox's own.
sub choose {
  my ($self, $message) = @_;
  my $conf = $self->{main}->{conf};
  return 0 unless $conf->{postoffice_bayes_per_mailbox} && $conf->{use_bayes} && $self->{main}->{bayes_scanner};
  # spamd puts the setting back after each message, and has another one for the message with which it warms up.
  $self->{site} = $conf->{bayes_path} unless $conf->{bayes_path} eq ($self->{own} // '');
  my ($mailbox) = $message->get_header(FIELD); # the first; what the sender wrote comes behind
  $self->{own} = own_collection($self->{site}, $mailbox);
  $self->use_collection($self->{own} // $self->{site});
  return defined $self->{own};
}

# Where the collection of a mailbox is; nothing for what is no address. Every other name gets a folder of its own.
sub own_collection {
  my ($site, $mailbox) = @_;
  my ($local_part, $domain) = lc($mailbox // '') =~ /\A\s*([!-?A-~]{1,64})@([!-?A-~]{1,253})\s*\z/ or return;
  s/([^a-z0-9.-])/sprintf '%%%02x', ord $1/ge, s/\A\./%2e/ for $local_part, $domain;
  return dirname($site) . "/mailboxes/$domain/$local_part/bayes";
}

# Closes the collection that was open, if it is another one.
sub use_collection {
  my ($self, $path) = @_;
  my $main = $self->{main};
  $main->{conf}->{bayes_path} = $path;
  return if ($self->{used} // '') eq $path;
  $self->{used} = $path;
  $main->{bayes_scanner} = Mail::SpamAssassin::Bayes->new($main);
}

1;
